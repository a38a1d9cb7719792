# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers in pages (``NextToken``), as EC2 gives them where a region has more than a call may
return.

moto pages some calls and not others, and by its own sizes. So a fault with ``page_items`` cuts the
whole answer, whatever the call.
"""

from __future__ import annotations

import base64
import binascii
from xml.etree import ElementTree

from .errors import ApiError
from .request import ApiRequest

NAMESPACE = "{http://ec2.amazonaws.com/doc/2016-11-15/}"


def start(request: ApiRequest) -> int:
    """The number of the first item that a call asks for.

    Its token is hidden from moto, which would not know it.
    """
    token = request.get("NextToken")
    if not token:
        return 0
    try:
        action, _colon, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        first = int(number)
    except (ValueError, binascii.Error):
        raise ApiError("InvalidNextToken", f"The token '{token}' is invalid") from None
    if action != request.action:
        raise ApiError("InvalidNextToken", f"The token '{token}' is of another call")
    request.hide("NextToken")
    return first


def cut(request: ApiRequest, body: bytes, first: int, items: int) -> bytes:
    """At most so many items of an answer, from the first on, and the token of the next page if
    there is one.
    """
    ElementTree.register_namespace("", NAMESPACE.strip("{}"))
    answer = ElementTree.fromstring(body)
    listed = next((each for each in answer if each.tag.endswith("Set")), None)
    if listed is None:
        return body
    found = list(listed)
    for each in (*found[:first], *found[first + items :]):
        listed.remove(each)
    for old in [each for each in answer if each.tag == NAMESPACE + "nextToken"]:
        answer.remove(old)
    if first + items < len(found):
        token = base64.urlsafe_b64encode(f"{request.action}:{first + items}".encode()).decode()
        ElementTree.SubElement(answer, NAMESPACE + "nextToken").text = token
    whole: bytes = ElementTree.tostring(answer, encoding="utf-8", xml_declaration=True)
    return whole
