# SPDX-License-Identifier: GPL-3.0-or-later
"""IPv4, IPv6 and a prefix list at once, with real packets of both families. One lab for all of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from benchmarks.faults import NODE, PEER, events, kinds, on_node
from lab.fabric import netns
from lab.fabric.names import INTERNET6, INTERNET_MORE, VPC, VPC6
from lab.fabric.network import INTERNET_NS
from lab.stream import TCP
from tests.integration.e2e.cluster import Cluster, running_cluster
from tests.integration.e2e.flows import ECHOED, RESET, Flows

CLIENT, LISTED = "client-a", INTERNET_MORE[0]


def make_list(cluster: Cluster) -> None:
    """Every private table gets a route to a prefix list as its third claim."""
    made = cluster.lab.client().create_managed_prefix_list(
        PrefixListName="partners", MaxEntries=1, AddressFamily="IPv4", Entries=[{"Cidr": f"{LISTED}/32"}]
    )
    cluster.settings["destinations"] = ["0.0.0.0/0", "::/0", made["PrefixList"]["PrefixListId"]]


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With canary and root helper. The routes to the prefix list are missing at first: making them is the service's."""
    settings = {"sources": [VPC, VPC6], "return": {"after_s": 1, "max_s": 1}}
    folder = tmp_path_factory.mktemp("dual")
    with running_cluster(folder, settings=settings, helpers=True, ipv6=True, prepare=make_list) as running:
        # Servers do not always tell who sends on a connection that they do not know: resets must come from the node.
        silence = ["-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST,ACK", "RST", "-j", "DROP"]
        netns.run(["ip", "netns", "exec", running.lab.names.namespace(INTERNET_NS), "ip6tables", *silence])
        yield running


def flow(cluster: Cluster) -> Flows:
    """A connection of a client of zone a over IPv6."""
    return Flows(cluster.lab.host(CLIENT).popen, 1, INTERNET6)


def seen_as(cluster: Cluster) -> str:
    """The IPv6 address that the internet sees a client of zone a with."""
    argv = ["curl", "--silent", "--max-time", "2", f"http://[{INTERNET6}]/"]
    return str(cluster.lab.exec(CLIENT, argv, check=False).stdout).strip()


def test_every_claim_of_a_dead_node_is_taken_and_returned(dual: Cluster) -> None:
    lab = dual.lab
    assert seen_as(dual) == "2001:db8:0:100::10"
    assert dual.status(NODE)["self"]["canary"] == "answered"
    with lab.stream(CLIENT) as four, lab.stream(CLIENT, server=INTERNET6) as six:
        with lab.stream(CLIENT, server=LISTED, kind=TCP) as listed, flow(dual) as old:
            streams = (four, six, listed)
            for stream in streams:
                stream.wait_for_answer()
            lab.fault("kill", NODE)
            dual.wait("all claims are taken", lambda: dual.owners("a") == {PEER}, 5)
            for stream in streams:
                stream.wait_for_answer()
            assert seen_as(dual) == "2001:db8:0:101::10"
            word, seconds = old.send(0)
            assert word == RESET and seconds < 1, "at once, not after minutes of silence"
            dual.wait("it is started again", lambda: lab.host(NODE).boots == 2, 30)
            dual.settle()
            for stream in streams:
                stream.wait_for_answer()
    assert seen_as(dual) == "2001:db8:0:100::10"
    assert dual.writes("StopInstances") == [("StopInstances", PEER)]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("ip6tables -t nat -F", "ip6tables -t nat: no jump from POSTROUTING"),
        ("ip6tables -F NAT-FAILOVER-FORWARD", "ip6tables -t filter: no rule"),
        ("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding", "ipv6 forwarding=0"),
    ],
)
def test_what_the_node_owns_of_ipv6_is_mended(dual: Cluster, command: str, says: str) -> None:
    known = len(events(dual))
    with dual.lab.stream(CLIENT, server=INTERNET6) as stream:
        stream.wait_for_answer()
        on_node(command)(dual)
        dual.wait("it is mended", lambda: "mended" in kinds(dual, known), 12)
        stream.wait_for_answer()
        assert dual.owners("a") == {NODE}
    assert any(says in text for kind, text in events(dual)[known:] if kind == "mended")


@pytest.mark.parametrize(
    ("break_it", "mend_it", "says"),
    [
        (
            "ip -6 address del {address}/128 dev ens5",
            "ip -6 address add {address}/128 dev ens5 nodad",
            "interface ens5 has no IPv6 address",
        ),
        (
            "ip6tables -I FORWARD 1 -j DROP",
            "ip6tables -D FORWARD -j DROP",
            f"a client's IPv6 packets get no answer: [{INTERNET6}]:443",
        ),
        # The helper sets accept_ra, and the next advertisement brings the route.
        (
            "echo 0 > /proc/sys/net/ipv6/conf/ens5/accept_ra; ip -6 route del default",
            "",
            "no IPv6 default route by interface ens5",
        ),
    ],
    ids=["address", "foreign rule", "default route"],
)
def test_what_it_does_not_own_is_handed_over(dual: Cluster, break_it: str, mend_it: str, says: str) -> None:
    known, address = len(events(dual)), dual.lab.host(NODE).port.address6
    with dual.lab.stream(CLIENT, server=INTERNET6) as stream:
        stream.wait_for_answer()
        on_node(break_it.format(address=address))(dual)
        dual.wait("it says so", lambda: any(says in text for _kind, text in events(dual)[known:]), 12)
        if mend_it:  # otherwise it may be mended before, or between two looks
            dual.wait("all claims are taken", lambda: dual.owners("a") == {PEER}, 12)
        stream.wait_for_answer()
        on_node((mend_it or "true").format(address=address))(dual)
        dual.settle()


def test_only_forwarded_a_flow_keeps_its_address_and_outlives_a_takeover(dual: Cluster) -> None:
    """Last: the cluster is another one after it."""
    for node in (NODE, PEER):
        dual.settings.update(ipv6="forward", canary={})
        dual.write_config(node)
        assert dual.run(node, "rules", "apply").stdout == "changed\n"
        dual.service(node).send_signal(signal.SIGHUP)
    dual.settle()
    assert seen_as(dual) == dual.lab.host(CLIENT).port.address6
    with flow(dual) as old:
        assert dual.run(NODE, "drain", "--wait", "10").stdout == "drained\n"
        assert dual.owners("a") == {PEER}
        assert old.send(0)[0] == ECHOED
