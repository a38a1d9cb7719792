# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: parse, validate, refuse.

Everything that can be known without a network is refused here, before anything is changed, with one error that names the key,
its value and the remedy. What only EC2 knows (does the table exist?) is refused by ``check-config --online``.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import typing as t
from dataclasses import dataclass, replace
from functools import cached_property

from .errors import ConfigError
from .model import Claim, Node
from .reader import Reader
from .targets import Target
from .targets import parse as parse_targets

MODES = ("observe", "route", "full")
# milliseconds: (interval, burst interval, silent_after)
PROFILES: t.Mapping[str, t.Tuple[int, int, int]] = {
    "fast": (100, 20, 250),
    "default": (100, 20, 600),
    "calm": (200, 50, 2000),
}
MASQUERADE, FORWARD = "masquerade", "forward"
PMTU = "pmtu"
IPV6_TARGETS = ("[2606:4700:4700::1111]:443", "[2001:4860:4860::8888]:443", "[2620:fe::fe]:443")
IPV6_SOURCES = tuple(ipaddress.IPv6Network(text) for text in ("2000::/3", "fc00::/7"))  # global unicast, unique local
ID = r"-([0-9a-f]{8}|[0-9a-f]{17})"  # of an EC2 resource
KEY_MINIMUM = 32  # characters; HMAC-SHA256 wants at least its digest's length (RFC 2104, section 3)


@dataclass(frozen=True)
class Heartbeat:
    port: int
    interval: float  # seconds
    burst_interval: float
    silent_after: float


@dataclass(frozen=True)
class Return:
    policy: str  # auto | manual
    after: float  # seconds of proven forwarding before the home takes its claims back
    maximum: float  # the doubling of ``after`` while flapping ends here


@dataclass(frozen=True)
class Fence:
    policy: str  # stop_start | reboot | none
    after: float  # seconds of silence without a flare
    stagger: float  # each lower rank waits this much longer (L3)
    stop_timeout: float  # then the stop is forced
    max_per_hour: int


@dataclass(frozen=True)
class SelfChecks:
    targets: t.Tuple[Target, ...]
    minimum: int
    timeout: float
    interval: float


@dataclass(frozen=True)
class Ipv6Canary:
    """What is asked besides where IPv6 is masqueraded; how often and for how long as over IPv4."""

    address: str
    targets: t.Tuple[Target, ...]
    minimum: int


@dataclass(frozen=True)
class Canary:
    enabled: bool
    address: str  # its source address: the rules must masquerade it, and no customer may have it
    targets: t.Tuple[Target, ...]
    minimum: int
    timeout: float
    interval: float
    socket: str  # where its process is asked
    ipv6: t.Optional[Ipv6Canary] = None


@dataclass(frozen=True)
class Nat:
    """What this node translates: all that its rules and sysctls depend on."""

    sources: t.Tuple[str, ...]
    interface: str
    ipv6: str = MASQUERADE  # what becomes of packets of IPv6 sources: masquerade | forward
    clamp_mss: str = (
        ""  # the largest TCP segment that either end may announce: a number, or PMTU for what fits the path
    )

    @property
    def has_ipv6(self) -> bool:
        return any(_is_ipv6(source) for source in self.sources)

    def of_family(self, ipv6: bool) -> t.Tuple[str, ...]:
        return tuple(source for source in self.sources if _is_ipv6(source) == ipv6)


@dataclass(frozen=True)
class Handover:
    poll: float  # seconds between two looks at what EC2 plans for this instance
    rebalance: str  # report | drain: what a rebalance recommendation of a spot instance is worth
    scheduled_lead: float  # seconds before a scheduled event at which this node drains
    on_stop: str  # keep | drain: what becomes of its claims when only the service is stopped
    wait: float  # how long a shutdown (or a stop, with drain) may wait for the peers


@dataclass(frozen=True)
class Ec2Settings:
    endpoint_url: t.Optional[str]
    connect_timeout: float
    read_timeout: float
    poll: float


@dataclass(frozen=True)
class WitnessTable:
    table: t.Optional[str]  # in DynamoDB; None: there is none
    endpoint_url: t.Optional[str]
    lease: float  # seconds without a renewal after which the fence lock is anybody's


@dataclass(frozen=True)
class Config:
    cluster: str
    self_name: str
    region: str
    mode: str
    nodes: t.Tuple[Node, ...]
    destinations: t.Tuple[str, ...]
    nat: Nat
    heartbeat: Heartbeat
    returns: Return
    fence: Fence
    self_check: SelfChecks
    canary: Canary
    handover: Handover
    ec2: Ec2Settings
    witness: WitnessTable
    unseen_after: float  # a peer never heard since our start is suspected only after this
    unmanaged_after: float  # grace for a peer whose service is dead but which answers ICMP
    key_file: str
    runtime_directory: str
    state_directory: str

    @property
    def interface(self) -> str:
        """The interface that leads out."""
        return self.nat.interface

    @property
    def sources(self) -> t.Tuple[str, ...]:
        """The networks whose packets this node lets out."""
        return self.nat.sources

    @property
    def repair_socket(self) -> str:
        """Where the root helper listens."""
        return self.runtime_directory + "-repair.sock"

    @cached_property
    def me(self) -> Node:
        return next(node for node in self.nodes if node.name == self.self_name)

    @cached_property
    def peers(self) -> t.Tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.name != self.self_name)

    @cached_property
    def claims(self) -> t.Tuple[Claim, ...]:
        return tuple(
            Claim(table, destination, node.name)
            for node in self.nodes
            for table in node.route_tables
            for destination in self.destinations
        )

    @cached_property
    def witnesses(self) -> t.FrozenSet[str]:
        """The nodes that only watch."""
        return frozenset(node.name for node in self.nodes if node.witness)

    def rank(self, name: str) -> int:
        """Position of a NAT node in the deterministic order that breaks ties; 0 acts first."""
        return sorted(node.name for node in self.nodes if not node.witness).index(name)


def load(path: str) -> Config:
    """Read and validate a configuration file; raises ``ConfigError`` only."""
    try:
        with open(path, encoding="utf-8") as stream:
            raw = json.load(stream, object_pairs_hook=_object)
    except OSError as error:
        raise ConfigError(
            "config", path, "cannot be read: %s" % error.strerror, "give the path of a readable file with --config"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            "config", path, "is not JSON: %s" % error, "let the role nat_instance write it, or correct that line"
        ) from None
    return parse(raw)


def _object(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    """A JSON object; json itself would silently take the last of two equal keys."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _value in pairs]
        raise ValueError("%r appears twice in one object" % next(key for key in keys if keys.count(key) > 1))
    return result


def load_keys(path: str) -> t.Tuple[bytes, ...]:
    """The heartbeat keys, one a line; the first one signs, all are accepted (so that a key can be rotated)."""
    try:
        with open(path, encoding="ascii") as stream:
            keys = [line.strip() for line in stream if line.strip()]
    except OSError as error:
        raise ConfigError(
            "key_file",
            path,
            "cannot be read: %s" % error.strerror,
            "create it with mode 0640, owner root, group nat-failover (the role does)",
        ) from None
    except ValueError:
        raise ConfigError(
            "key_file", path, "holds characters outside ASCII", "use e.g. `openssl rand -hex 32`"
        ) from None
    if not keys:
        raise ConfigError(
            "key_file",
            path,
            "holds no key",
            "write a line of at least %d characters, e.g. `openssl rand -hex 32`" % KEY_MINIMUM,
        )
    for number, key in enumerate(keys, 1):
        if len(key) < KEY_MINIMUM:
            # The key itself must not reach a log: say its place and length.
            raise ConfigError(
                "key_file",
                path,
                "the key in line %d is too short: %d of at least %d characters" % (number, len(key), KEY_MINIMUM),
                "use e.g. `openssl rand -hex 32`",
            )
    return tuple(key.encode("ascii") for key in keys)


def check_interface(config: Config, sys_class_net: str = "/sys/class/net") -> None:
    """Refuse an interface that this host does not have."""
    if not os.path.exists(os.path.join(sys_class_net, config.interface)):
        there = ", ".join(sorted(os.listdir(sys_class_net))) if os.path.isdir(sys_class_net) else "none"
        raise ConfigError("interface", config.interface, "this host has no such interface", "choose one of: %s" % there)


def parse(raw: t.Any) -> Config:
    """Validate a parsed configuration (shape: docs/architecture.md) and fill in the defaults."""
    reader = Reader("", raw)
    cluster = reader.text("cluster", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
    self_name = reader.text("self")
    region = reader.text("region", pattern=r"[a-z]{2}(-[a-z]+)+-\d")
    mode = reader.choice("mode", MODES, "full")
    profile = reader.choice("profile", tuple(PROFILES), "default")
    destinations = tuple(_destination(d) for d in reader.texts("destinations", ["0.0.0.0/0"]))
    _refuse_empty("destinations", destinations, "leave it out for 0.0.0.0/0")
    nodes = tuple(_node(index, item) for index, item in enumerate(reader.items("nodes")))
    nat = _nat(reader)
    checks = _self_check(reader.section("self_check"))
    runtime_directory = reader.path("runtime_directory", "/run/nat-failover")
    config = Config(
        cluster=cluster,
        self_name=self_name,
        region=region,
        mode=mode,
        nodes=nodes,
        destinations=destinations,
        nat=nat,
        heartbeat=_heartbeat(reader.section("heartbeat"), profile),
        returns=_return(reader.section("return")),
        fence=_fence(reader.section("fence")),
        self_check=checks,
        canary=_canary(reader.section("canary"), nat, checks, runtime_directory),
        handover=_handover(reader.section("handover")),
        ec2=_ec2(reader.section("ec2")),
        witness=_witness(reader.section("witness")),
        unseen_after=reader.number("unseen_after_s", 10, 1, 600),
        unmanaged_after=reader.number("unmanaged_after_s", 60, 5, 3600),
        key_file=reader.path("key_file", None, "/etc/nat-failover/heartbeat.key"),
        runtime_directory=runtime_directory,
        state_directory=reader.path("state_directory", "/var/lib/nat-failover"),
    )
    reader.refuse_unknown()
    _check_nodes(config)
    if config.me.witness:  # it has no forwarding to prove, and nothing to write into a table
        canary, table = replace(config.canary, enabled=False), replace(config.witness, table=None)
        config = replace(config, canary=canary, witness=table)
    _check_ipv6(config)
    _check_canary(config)
    _check_timings(config)
    return config


def _nat(reader: Reader) -> Nat:
    given = reader.texts("sources", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])
    sources = tuple(_source(text) for text in given)
    _refuse_empty("sources", sources, "name the networks that this node NATs, e.g. 10.0.0.0/16")
    if all(_is_ipv6(source) for source in sources):
        raise ConfigError(
            "sources",
            ", ".join(sources),
            "hold no IPv4 network, and a node is watched over IPv4",
            "add the VPC's, e.g. 10.0.0.0/16",
        )
    return Nat(
        sources=sources,
        interface=reader.text("interface", pattern=r"[^\s/]{1,15}"),
        ipv6=reader.choice("ipv6", (MASQUERADE, FORWARD), MASQUERADE),
        clamp_mss=_clamp_mss(reader.text("clamp_mss", "")),
    )


def _node(index: int, raw: t.Any) -> Node:
    reader = Reader("nodes[%d]." % index, raw)
    address = reader.text("address", "")
    if address:
        try:
            ipaddress.IPv4Address(address)  # heartbeats are IPv4 only
        except ValueError:
            raise ConfigError(
                "nodes[%d].address" % index,
                address,
                "is not an IPv4 address",
                "give the node's private address, or leave it out to have it discovered",
            ) from None
    witness = reader.flag("witness", False)
    node = Node(
        name=reader.text("name", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
        instance_id=reader.text("instance_id", "", pattern="(i" + ID + ")?"),
        route_tables=tuple(reader.texts("route_tables", [], pattern="rtb" + ID)),
        address=address or None,
        witness=witness,
    )
    if witness and node.route_tables:
        raise ConfigError(
            "nodes[%d].route_tables" % index,
            list(node.route_tables),
            "a witness owns no routes",
            "leave them out, or leave `witness` out to make it a NAT node",
        )
    _refuse_duplicates("nodes[%d].route_tables" % index, node.route_tables, "name each table once")
    reader.refuse_unknown()
    return node


def _heartbeat(reader: Reader, profile: str) -> Heartbeat:
    interval, burst, silent = PROFILES[profile]
    result = Heartbeat(
        port=reader.whole("port", 4710, 1024, 65535),
        interval=reader.number("interval_ms", interval, 20, 5000) / 1000,
        burst_interval=reader.number("burst_interval_ms", burst, 5, 1000) / 1000,
        silent_after=reader.number("silent_after_ms", silent, 100, 60000) / 1000,
    )
    reader.refuse_unknown()
    return result


def _return(reader: Reader) -> Return:
    result = Return(
        policy=reader.choice("policy", ("auto", "manual"), "auto"),
        after=reader.number("after_s", 30, 1, 86400),
        maximum=reader.number("max_s", 1800, 1, 86400),
    )
    reader.refuse_unknown()
    return result


def _fence(reader: Reader) -> Fence:
    result = Fence(
        policy=reader.choice("policy", ("stop_start", "reboot", "none"), "stop_start"),
        after=reader.number("after_s", 30, 1, 3600),
        stagger=reader.number("stagger_s", 15, 1, 600),
        stop_timeout=reader.number("stop_timeout_s", 120, 5, 3600),
        max_per_hour=reader.whole("max_per_hour", 2, 0, 60),
    )
    reader.refuse_unknown()
    return result


def _self_check(reader: Reader) -> SelfChecks:
    # Three operators' resolvers: one of them may be out of order, or two, and this node still knows the truth.
    targets = parse_targets(
        "self_check.targets", reader.texts("targets", ["1.1.1.1:443", "8.8.8.8:443", "9.9.9.9:443"])
    )
    result = SelfChecks(
        targets=targets,
        minimum=reader.whole("minimum", 1, 1, 100),
        timeout=reader.number("timeout_ms", 400, 50, 10000) / 1000,
        interval=reader.number("interval_s", 2, 0.2, 300),
    )
    _check_minimum("self_check", result.minimum, targets)
    reader.refuse_unknown()
    return result


def _canary(reader: Reader, nat: Nat, checks: SelfChecks, runtime_directory: str) -> Canary:
    """What is left out is as for the node's own check."""
    targets = parse_targets("canary.targets", reader.texts("targets", [str(each) for each in checks.targets]))
    result = Canary(
        enabled=reader.flag("enabled", True),
        address=_canary_address("address", reader.text("address", ""), nat.of_family(ipv6=False)),
        targets=targets,
        minimum=reader.whole("minimum", min(checks.minimum, len(targets)), 1, 100),
        timeout=reader.number("timeout_ms", checks.timeout * 1000, 50, 10000) / 1000,
        interval=reader.number("interval_s", 1, 0.2, 60),
        socket=runtime_directory + "-canary.sock",
    )
    _check_minimum("canary", result.minimum, targets)
    result = replace(result, ipv6=_ipv6_canary(reader, nat, result.minimum))
    reader.refuse_unknown()
    return result


def _ipv6_canary(reader: Reader, nat: Nat, minimum: int) -> t.Optional[Ipv6Canary]:
    """An address that is only forwarded gets no answers: nobody routes them to a canary."""
    wanted, text, given = reader.flag("ipv6", True), reader.text("address_ipv6", ""), reader.texts("targets_ipv6", [])
    if not nat.has_ipv6 or nat.ipv6 != MASQUERADE:
        if given:
            raise ConfigError(
                "canary.targets_ipv6",
                ", ".join(given),
                "no IPv6 is masqueraded here, so there is no canary that could ask",
                "leave it out, or see sources and ipv6",
            )
        return None
    targets = parse_targets("canary.targets_ipv6", given or list(IPV6_TARGETS))
    for target in targets:
        if ":" not in target.host:
            raise ConfigError(
                "canary.targets_ipv6", str(target), "is no IPv6 address", "write e.g. %s" % IPV6_TARGETS[0]
            )
    address = _canary_address("address_ipv6", text, nat.of_family(ipv6=True))
    return Ipv6Canary(address, targets, min(minimum, len(targets))) if wanted else None


def _canary_address(key: str, text: str, sources: t.Sequence[str]) -> str:
    """EC2 gives a subnet's last address to nobody, nor, then, the last of a source."""
    networks = [ipaddress.ip_network(source) for source in sources]
    last = str(networks[0][-1])
    text = text or last
    family = networks[0].version
    try:
        address = ipaddress.ip_address(text)
        if address.version != family:
            raise ValueError(text)
    except ValueError:
        raise ConfigError("canary.%s" % key, text, "is not an IPv%d address" % family, "write e.g. %s" % last) from None
    if not any(address in network for network in networks):
        raise ConfigError(
            "canary.%s" % key,
            text,
            "is in none of the sources (%s): its packets would not go a customer's way" % ", ".join(sources),
            "leave it out for %s" % last,
        )
    return str(address)


def _handover(reader: Reader) -> Handover:
    result = Handover(
        poll=reader.number("poll_s", 2, 0.5, 60),
        rebalance=reader.choice("rebalance", ("report", "drain"), "report"),
        scheduled_lead=reader.number("scheduled_lead_s", 300, 0, 86400),
        on_stop=reader.choice("on_stop", ("keep", "drain"), "keep"),
        wait=reader.number("wait_s", 15, 1, 300),
    )
    reader.refuse_unknown()
    return result


def _check_minimum(section: str, minimum: int, targets: t.Sequence[Target]) -> None:
    if minimum > len(targets):
        raise ConfigError(
            "%s.minimum" % section,
            minimum,
            "is more than there are targets (%d)" % len(targets),
            "lower it or add targets",
        )


def _ec2(reader: Reader) -> Ec2Settings:
    result = Ec2Settings(
        endpoint_url=_endpoint("ec2", reader),
        connect_timeout=reader.number("connect_timeout_s", 1, 0.1, 60),
        read_timeout=reader.number("read_timeout_s", 2, 0.1, 60),
        poll=reader.number("poll_s", 5, 0.5, 300),
    )
    reader.refuse_unknown()
    return result


def _endpoint(section: str, reader: Reader) -> t.Optional[str]:
    endpoint = reader.text("endpoint_url", "")
    if endpoint and not re.match(r"https?://[^\s/]+", endpoint):
        raise ConfigError(
            "%s.endpoint_url" % section,
            endpoint,
            "is not a URL",
            "leave it out to use the region's endpoint, or write https://host",
        )
    return endpoint or None


def _witness(reader: Reader) -> WitnessTable:
    table = reader.text("dynamodb_table", "", pattern=r"|[A-Za-z0-9_.-]{3,255}")
    result = WitnessTable(
        table=table or None,
        endpoint_url=_endpoint("witness", reader),
        lease=reader.number("lock_lease_s", 60, 1, 3600),
    )
    reader.refuse_unknown()
    if not table and not reader.empty:
        raise ConfigError("witness.dynamodb_table", table, "is missing", "name the table, or leave `witness` out")
    return result


def _check_nodes(config: Config) -> None:
    names = [node.name for node in config.nodes]
    if len(names) - len(config.witnesses) < 2:
        raise ConfigError(
            "nodes",
            [name for name in names if name not in config.witnesses],
            "a cluster needs at least two nodes that NAT",
            "add the NAT instance of the other availability zone",
        )
    _refuse_duplicates("nodes[].name", names, "give each node a name of its own")
    _refuse_duplicates(
        "nodes[].instance_id",
        [node.instance_id for node in config.nodes if node.instance_id],
        "each node is an instance of its own",
    )
    _refuse_duplicates(
        "nodes[].address",
        [node.address for node in config.nodes if node.address],
        "each node has an address of its own",
    )
    if config.self_name not in names:
        raise ConfigError(
            "self",
            config.self_name,
            "is not in the list of nodes (%s)" % ", ".join(names),
            "set it to this node's name, or add this node to `nodes`",
        )
    homes: t.Dict[str, str] = {}
    for node in config.nodes:
        for table in node.route_tables:
            if table in homes:
                raise ConfigError(
                    "nodes[].route_tables",
                    table,
                    "is claimed by two homes (%s and %s)" % (homes[table], node.name),
                    "leave it with one node; the other one takes it over when needed",
                )
            homes[table] = node.name
    _refuse_duplicates("destinations", list(config.destinations), "name each destination once")


def _check_ipv6(config: Config) -> None:
    if config.nat.has_ipv6:
        return
    for destination in config.destinations:
        if _is_ipv6(destination):
            raise ConfigError(
                "destinations",
                destination,
                "is IPv6, and sources hold no IPv6 network: what the route brings would go nowhere",
                "add the clients' network to sources, as a rule the VPC's IPv6 network",
            )
    if config.nat.ipv6 == FORWARD:
        raise ConfigError(
            "ipv6",
            config.nat.ipv6,
            "sources hold no IPv6 network to forward",
            "add the VPC's IPv6 network to sources, or leave this out",
        )


def _check_canary(config: Config) -> None:
    if config.canary.address in [node.address for node in config.nodes]:
        raise ConfigError(
            "canary.address", config.canary.address, "is a node's address", "leave it out, or name one that nobody has"
        )


def _check_timings(config: Config) -> None:
    beat, fence, returns = config.heartbeat, config.fence, config.returns
    if beat.burst_interval * 5 > beat.silent_after:
        raise ConfigError(
            "heartbeat.burst_interval_ms",
            _ms(beat.burst_interval),
            "leaves fewer than 5 probes within silent_after_ms (%d): random loss could fake a death (law L3)"
            % _ms(beat.silent_after),
            "raise silent_after_ms or lower burst_interval_ms",
        )
    if beat.interval * 2 > beat.silent_after:
        raise ConfigError(
            "heartbeat.silent_after_ms",
            _ms(beat.silent_after),
            "is shorter than two heartbeat intervals (%d ms each): one lost packet would decide" % _ms(beat.interval),
            "raise silent_after_ms or lower interval_ms",
        )
    # The slower node needs its own detection, a flare written and a flare read (two API calls, one poll) before anybody may be fenced.
    slowest = beat.interval + beat.silent_after + 2 * (config.ec2.connect_timeout + config.ec2.read_timeout) + 1
    if fence.policy != "none" and config.mode == "full":
        if fence.after < slowest:
            raise ConfigError(
                "fence.after_s",
                fence.after,
                "is shorter than the slower node needs to detect and to show a flare (%.1f s): both could fence each other (law L3)"
                % slowest,
                "raise fence.after_s, or lower ec2.*_timeout_s",
            )
        if fence.stagger < slowest:
            raise ConfigError(
                "fence.stagger_s",
                fence.stagger,
                "is shorter than a detection and a flare (%.1f s): the tie-break would not hold (law L3)" % slowest,
                "raise fence.stagger_s, or lower ec2.*_timeout_s",
            )
    # A quarter of the lease is for a renewal and its reading; the rest is what a holder's last call may take.
    least = 4 * (config.ec2.connect_timeout + config.ec2.read_timeout + 1)
    if config.witness.table and config.witness.lease < least:
        raise ConfigError(
            "witness.lock_lease_s",
            config.witness.lease,
            "is shorter than a holder of the lock needs to renew it (%.1f s): another could take it meanwhile (law L3)"
            % least,
            "raise witness.lock_lease_s, or lower ec2.*_timeout_s",
        )
    if returns.maximum < returns.after:
        raise ConfigError(
            "return.max_s", returns.maximum, "is less than return.after_s (%s)" % returns.after, "raise return.max_s"
        )
    if config.unseen_after < 2 * beat.silent_after:
        raise ConfigError(
            "unseen_after_s",
            config.unseen_after,
            "is less than twice silent_after_ms: a booting peer would be taken for dead",
            "raise unseen_after_s",
        )


def _ms(seconds: float) -> int:
    return int(round(seconds * 1000))


def _refuse_duplicates(key: str, values: t.Sequence[t.Any], remedy: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise ConfigError(key, value, "appears twice", remedy)
        seen.add(value)


def _refuse_empty(key: str, values: t.Sequence[t.Any], remedy: str) -> None:
    if not values:
        raise ConfigError(key, [], "is empty", remedy)


def _destination(text: str) -> str:
    if re.fullmatch("pl" + ID, text):
        return text
    return _network("destinations", text)


def _source(text: str) -> str:
    network = ipaddress.ip_network(_network("sources", text))
    if not network.prefixlen:
        # What goes from a source to a source stays as it is: nothing at all would be translated.
        raise ConfigError("sources", text, "is the whole internet", "name the networks of your VPC, e.g. 10.0.0.0/16")
    if isinstance(network, ipaddress.IPv6Network) and not any(network.subnet_of(range_) for range_ in IPV6_SOURCES):
        raise ConfigError(
            "sources",
            text,
            "holds no addresses that clients have: neither global (2000::/3) nor unique local (fc00::/7)",
            "name the VPC's IPv6 network",
        )
    return str(network)


def _is_ipv6(network: str) -> bool:
    return ":" in network


def _clamp_mss(text: str) -> str:
    # The least that every IPv4 host takes (RFC 9293), and what fits a VPC's 9001 bytes.
    if text and text != PMTU and not (re.fullmatch("[0-9]{3,4}", text) and 536 <= int(text) <= 8961):
        raise ConfigError(
            "clamp_mss", text, 'is neither "pmtu" nor a number from 536 to 8961', 'write e.g. "1360", or leave it out'
        )
    return text


def _network(key: str, text: str) -> str:
    # Canonical, because EC2 stores the canonical form and a re-read must find it again.
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ConfigError(key, text, "is not a network", "write e.g. 10.0.0.0/16") from None
