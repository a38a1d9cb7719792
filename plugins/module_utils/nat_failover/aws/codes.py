# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Error codes of AWS: the kind of each, and the remedy for a refusal that lasts. Pure.

``KINDS`` names each code that this product may meet (EC2 API Reference, "Error codes", and the
codes of this package for failures without one). ``SHAPES`` names the kind of further
codes by their form.
"""

from __future__ import annotations

import typing as t

THROTTLED = "throttled"  # too many calls: the same call later, at a lower pace
UNCERTAIN = "uncertain"  # no answer, or one that is none of AWS: a write may have been applied
PASSING = "passing"  # a state that ends by itself, such as a lack of capacity
CREDENTIALS = "credentials"  # missing or old credentials of this node
DENIED = "denied"  # IAM, an SCP, or the account forbids the call
NO_ROOM = "no room"  # a quota or a tag policy leaves no room for what is written
IMPOSSIBLE = "impossible"  # EC2 does not take this action on this instance, whoever calls
WRONG = "wrong"  # the call names something that does not exist or does not fit
UNKNOWN = "unknown"

# The kinds that last until somebody changes something outside this node.
LASTING = frozenset((DENIED, NO_ROOM, IMPOSSIBLE, WRONG))
# The kinds that make an instance unfit for an action: the policy takes its fall-back at once. A
# lack of permission is not among them, for it is a mistake that an operator corrects.
UNFIT = frozenset((IMPOSSIBLE, WRONG, UNKNOWN))

_BY_KIND: t.Mapping[str, str] = {
    THROTTLED: """
        RequestLimitExceeded Throttling ThrottlingException ThrottledException EC2ThrottledException
        RequestThrottled RequestThrottledException TooManyRequestsException SlowDown PriorRequestNotComplete
    """,
    UNCERTAIN: "Timeout EndpointUnreachable BadAnswer",
    PASSING: """
        InternalError InternalFailure ServiceUnavailable Unavailable ServerInternal RequestTimeout
        RequestTimeoutException ConcurrentTagAccess IncorrectInstanceState IncorrectState
        InsufficientInstanceCapacity InsufficientCapacity InsufficientHostCapacity
        InsufficientReservedInstanceCapacity InsufficientCapacityOnOutpost UnfulfillableCapacity
        SpotMaxPriceTooLow MaxSpotInstanceCountExceeded InvalidInstanceState InvalidHostState
        IncorrectSpotRequestState ProvisionedThroughputExceededException InternalServerError
    """,
    CREDENTIALS: """
        NoCredentials RequestExpired ExpiredToken ExpiredTokenException AuthFailure
        UnrecognizedClientException InvalidClientTokenId IncompleteSignature SignatureDoesNotMatch
        MissingAuthenticationToken InvalidSecurity
    """,
    DENIED: """
        UnauthorizedOperation AccessDenied AccessDeniedException NotAuthorized Blocked OptInRequired
        PendingVerification
    """,
    NO_ROOM: """
        TagLimitExceeded TagPolicyViolation InvalidTagKey.Malformed InstanceLimitExceeded
        VcpuLimitExceeded ResourceLimitExceeded RouteLimitExceeded
    """,
    IMPOSSIBLE: """
        UnsupportedOperation Unsupported OperationNotPermitted NonEBSInstance
        UnsupportedHibernationConfiguration UnsupportedInstanceAttribute UnsupportedHostConfiguration
        UnsupportedInstanceTypeOnHost UnsupportedTenancy UnsupportedProtocol UnsupportedOperationInRegion
        EncryptedVolumesNotSupported InvalidInstanceAttributeValue ActionNotSupported NotSupported
        StopProtected TerminationProtected
    """,
    WRONG: """
        InvalidInstanceID.NotFound InvalidInstanceID.Malformed InvalidInstanceID InvalidRouteTableID.NotFound
        InvalidRouteTableId.Malformed InvalidRoute.NotFound InvalidPrefixListID.NotFound
        InvalidPrefixListId.NotFound InvalidNetworkInterfaceID.NotFound InvalidID InvalidParameter
        InvalidParameterValue InvalidParameterCombination InvalidAction UnknownParameter MissingParameter
        ValidationError UnknownCall
    """,
}
KINDS: t.Mapping[str, str] = {code: kind for kind, codes in _BY_KIND.items() for code in codes.split()}
EXPIRED = frozenset(("ExpiredToken", "ExpiredTokenException", "RequestExpired"))  # renewed by themselves
# (begin, end, kind) of codes that are not in the table. The first match counts.
SHAPES: tuple[tuple[str, str, str], ...] = (
    ("", "Throttled", THROTTLED),
    ("", "ThrottlingException", THROTTLED),
    ("Insufficient", "", PASSING),
    ("", "LimitExceeded", NO_ROOM),
    ("", "QuotaExceeded", NO_ROOM),
    ("TagPolicy", "", NO_ROOM),
    ("InvalidTag", "", NO_ROOM),
    ("Unauthorized", "", DENIED),
    ("AccessDenied", "", DENIED),
    ("Unsupported", "", IMPOSSIBLE),
    ("", "NotSupported", IMPOSSIBLE),
    ("", "NotPermitted", IMPOSSIBLE),
    ("", ".NotFound", WRONG),
    ("", ".Malformed", WRONG),
    ("Invalid", "", WRONG),
)


def kind(code: str) -> str:
    """The kind of an error code, or ``UNKNOWN``."""
    known = KINDS.get(code)
    if known is not None:
        return known
    return next((found for begin, end, found in SHAPES if code.startswith(begin) and code.endswith(end)), UNKNOWN)


def of(*kinds: str) -> frozenset[str]:
    """The codes of these kinds that the table names."""
    return frozenset(code for code, found in KINDS.items() if found in kinds)


def retryable(code: str) -> bool:
    """Whether the same call may succeed later by itself."""
    return kind(code) in (THROTTLED, UNCERTAIN, PASSING) or code in EXPIRED


def lasting(code: str) -> bool:
    """Whether the same call fails again until somebody changes something outside this node."""
    return kind(code) in LASTING


# --- remedies -------------------------------------------------------------------------------------

_POLICY = "set fence.policy to reboot or none (the role's variable nat_instance_fence)"
# (a part of EC2's message in lower case, the remedy). The first match counts.
_IMPOSSIBLE: tuple[tuple[str, str], ...] = (
    ("one-time", f"run the node as a persistent spot instance or on demand, or {_POLICY}"),
    ("spot", f"run the node as a persistent spot instance or on demand, or {_POLICY}"),
    ("disableapistop", f"end the stop protection of the instance (attribute disableApiStop), or {_POLICY}"),
    ("stop protection", f"end the stop protection of the instance (attribute disableApiStop), or {_POLICY}"),
    ("instance store", f"use an image whose root volume is EBS, or {_POLICY}"),
    ("instance-store", f"use an image whose root volume is EBS, or {_POLICY}"),
    ("ebs", f"use an image whose root volume is EBS, or {_POLICY}"),
    ("hibernat", f"start the node from an image and a type without hibernation, or {_POLICY}"),
)
_NO_ROOM: t.Mapping[str, str] = {
    "TagLimitExceeded": (
        "remove tags from it: EC2 takes 50 on a resource, and the service needs room for its keys nat-failover:*"
    ),
    "TagPolicyViolation": "allow the keys nat-failover:* with any value in the tag policy of the organization",
}


def remedy(code: str, message: str) -> str:
    """The remedy for a refusal that lasts, by the code and EC2's message. "" for all others."""
    if kind(code) == IMPOSSIBLE:
        text = f"{code} {message}".lower()
        return next((found for part, found in _IMPOSSIBLE if part in text), _POLICY)
    return _NO_ROOM.get(code, "")
