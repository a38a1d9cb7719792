# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the role nat_instance: nodes, configuration, kernel settings, units, and the engine's refusals in its words."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from .conftest import ROOT

SPEC = ROOT / "roles" / "nat_instance" / "meta" / "argument_specs.yml"
OPTIONS = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
KEY_FILE = "/etc/nat-failover/heartbeat.key"
A = {"nat_instance_instance_id": "i-0aaaaaaaaaaaaaaaa", "nat_instance_route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]}
B = {"nat_instance_instance_id": "i-0bbbbbbbbbbbbbbbb", "nat_instance_route_tables": ["rtb-0bbbbbbbbbbbbbbbb"]}
PROD = {"nat_instance_cluster": "prod"}


@pytest.fixture
def filters(load):
    return load("filter.nat_instance").FilterModule().filters()


@pytest.fixture
def asked(load):
    """The role's variables as its tasks see them."""

    def call(host="nat-a", **given):
        defaults = yaml.safe_load((ROOT / "roles/nat_instance/defaults/main.yml").read_text(encoding="utf-8"))
        named = {**defaults, "nat_instance_name": host, "nat_instance_route_tables": [], "nat_instance_services": []}
        named = {**named, **PROD, **given}
        return load("filter.arguments").arguments(named, OPTIONS, prefix="nat_instance_")

    return call


@pytest.fixture
def cluster(filters, asked):
    """The result of the filter for nat-a."""

    def call(hostvars, host="nat-a", hosts=None, **given):
        own = {**hostvars.get(host, {}), **given}
        own.setdefault("nat_instance_name", host)
        return filters["nat_instance_cluster"](
            sorted(hostvars) if hosts is None else hosts,
            host=host,
            group="nat_nodes",
            asked=asked(**own),
            instance_id=own.get("nat_instance_instance_id", ""),
            hostvars=hostvars,
            options=OPTIONS,
        )

    return call


@pytest.fixture
def plan(filters, asked):
    def call(nodes=(), host=None, packages=(), network="", **given):
        return filters["nat_instance_plan"](
            asked(**given),
            hosts=[node["name"] for node in nodes],
            network=network,
            nodes=nodes,
            region="eu-west-1",
            interface="ens5",
            key_file=KEY_FILE,
            host=host or {"memory_kib": 425_000},
            packages=packages,
        )

    return call


NODES = (
    {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
    {"name": "nat-b", "instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": ["rtb-0bbbbbbbbbbbbbbbb"]},
)


# --- the cluster ----------------------------------------------------------------------------------------------------


def test_the_nodes_are_the_hosts_of_the_cluster(cluster):
    bee = {**B, "nat_instance_name": "bee", "nat_instance_address": "10.0.1.10", **PROD}
    assert cluster({"nat-a": {**A, **PROD}, "nat-b": bee}) == {
        "nodes": [NODES[0], {**NODES[1], "name": "bee", "address": "10.0.1.10"}],
        "hosts": ["nat-a", "nat-b"],
        "problem": "",
    }


def test_a_host_without_a_cluster_of_its_own_is_in_the_one_of_the_play(cluster):
    assert cluster({"nat-a": A, "nat-b": B})["nodes"] == list(NODES)


def test_the_text_no_makes_no_witness(cluster):
    found = cluster({"nat-a": A, "nat-b": {**B, "nat_instance_witness": "no"}})
    assert found["nodes"] == list(NODES)


def test_tables_of_a_peer_in_an_ini_inventory(cluster):
    text = {**B, "nat_instance_route_tables": "rtb-0bbbbbbbbbbbbbbbb"}
    assert cluster({"nat-a": A, "nat-b": text})["nodes"] == list(NODES)


def test_an_id_that_ec2_gave_to_a_peer_in_this_run(cluster):
    peer = {"nat_instance_route_tables": B["nat_instance_route_tables"], "__nat_instance_id": "i-0bbbbbbbbbbbbbbbb"}
    assert cluster({"nat-a": A, "nat-b": peer})["nodes"] == list(NODES)


PROBLEMS = (
    # the hosts' variables, and what is said of nat-a
    ({}, "nat-a is not in the inventory group nat_nodes"),
    ({"nat-b": B}, "nat-a is not in the inventory group nat_nodes"),
    ({"nat-a": A}, "the cluster 'prod' has one NAT node only, nat-a, and needs two NAT nodes at least"),
    ({"nat-a": A, "nat-b": {**B, "nat_instance_cluster": "prdo"}}, "also holds nat-b ('prdo')"),
    (
        {"nat-a": A, "nat-b": {**B, "nat_instance_cluster": "prdo"}, "x": {**B, "nat_instance_cluster": "stage"}},
        "also holds nat-b ('prdo'); is nat_instance_cluster right everywhere?",
    ),
    (
        {"nat-a": A, "nat-w": {**B, "nat_instance_witness": True, "nat_instance_route_tables": []}},
        "has one NAT node only, nat-a",
    ),
    (
        {"nat-a": A, "nat-b": {**B, "nat_instance_instance_id": A["nat_instance_instance_id"]}},
        "nat_instance_instance_id of nat-a and nat-b is the same (got 'i-0aaaaaaaaaaaaaaaa')",
    ),
    (
        {"nat-a": A, "nat-b": B, "old": {**A, "nat_instance_cluster": "gone"}},
        "nat_instance_instance_id of nat-a and old is the same",
    ),
    ({"nat-a": A, "nat-b": {**B, "nat_instance_name": "nat-a"}}, "nat_instance_name of nat-a and nat-b is the same"),
    (
        {
            "nat-a": {**A, "nat_instance_address": "10.0.0.10"},
            "nat-b": {**B, "nat_instance_address": "10.0.0.10"},
        },
        "nat_instance_address of nat-a and nat-b is the same (got '10.0.0.10')",
    ),
    (
        {"nat-a": A, "nat-b": {**B, "nat_instance_route_tables": A["nat_instance_route_tables"]}},
        "nat_instance_route_tables of nat-a and nat-b both name rtb-0aaaaaaaaaaaaaaaa",
    ),
    ({"nat-a": A, "nat-b": {}}, "not known: nat_instance_route_tables of nat-b, nat_instance_instance_id of nat-b."),
    ({"nat-a": A, "nat-b": {**B, "nat_instance_witness": "x"}}, "nat_instance_witness (got 'x') must be true or false"),
)


@pytest.mark.parametrize(("hostvars", "said"), PROBLEMS)
def test_a_cluster_that_cannot_be_meant_is_refused_in_one_line(cluster, hostvars, said):
    found = cluster(hostvars, **A)
    assert said in found["problem"] and "\n" not in found["problem"]
    assert found["nodes"] == []


def test_nodes_known_by_their_tags_need_no_ids(cluster):
    tables = {"nat_instance_route_tables": []}
    found = cluster({"nat-a": tables, "nat-b": tables}, nat_instance_known_by="tags")
    assert found["nodes"] == [{"name": "nat-a", "route_tables": []}, {"name": "nat-b", "route_tables": []}]


# --- the configuration ----------------------------------------------------------------------------------------------


def test_the_configuration_holds_what_was_asked_for_only(plan):
    made = plan(NODES, nat_instance_fence={"after_s": "45"}, nat_instance_clamp_mss=1360)
    assert made["problem"] == ""
    assert list(made["config"]) == [
        *("cluster", "self", "region", "mode", "profile", "nodes", "destinations", "interface", "sources", "ipv6"),
        *("unseen_after_s", "unmanaged_after_s", "key_file", "clamp_mss", "imds", "fence"),
    ]
    assert made["config"]["fence"] == {"after_s": 45} and made["config"]["clamp_mss"] == "1360"


@pytest.mark.parametrize(
    ("given", "section"),
    [
        ({}, {"users": ["nat-failover"]}),
        ({"nat_instance_imds_users": ["cwagent", "nat-failover"]}, {"users": ["nat-failover", "cwagent"]}),
        ({"nat_instance_imds_restricted": "no", "nat_instance_imds_users": ["cwagent"]}, None),
        ({"nat_instance_witness": True}, None),  # it has no rules
    ],
)
def test_the_metadata_service_answers_the_service_and_whom_the_operator_names(plan, given, section):
    assert plan(NODES, **given)["config"].get("imds") == section


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nat_instance_imds_users": ["no one"]}, "nat_instance_imds_users: invalid user name 'no one'"),
        ({"nat_instance_fence": {"after_s": 1}}, "nat_instance_fence.after_s: is shorter than"),
        ({"nat_instance_canary": {"address": "192.0.2.1"}}, "nat_instance_canary.address: is in none of the sources"),
        ({"nat_instance_witness_table": {"lock_lease_s": 90}}, "nat_instance_witness_table.dynamodb_table: is missing"),
        ({"nat_instance_sources": ["10.0.0.0/33"]}, "nat_instance_sources: is not a network (got '10.0.0.0/33')"),
        ({"nat_instance_name": "b a d"}, "nat_instance_name: is not in the list of nodes"),
    ],
)
def test_the_engine_refuses_it_in_the_words_of_the_role(plan, given, said):
    found = plan(NODES, **given)["problem"]
    assert found.startswith(said) and "\n" not in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nodes[1].name: is bad (got 'x y')", "nat_instance_name of nat-b: is bad (got 'x y')"),
        ("nodes[].address: appears twice", "nat_instance_address: appears twice"),
        ("nat-failover: key_file: holds no key", "nat-failover: nat_instance_heartbeat_key: holds no key"),
        ("self: is not there", "nat_instance_name: is not there"),
        (
            "fence.stagger_s: too short; raise fence.stagger_s, or lower ec2.*_timeout_s",
            (
                "nat_instance_fence.stagger_s: too short; raise nat_instance_fence.stagger_s, or lower"
                " nat_instance_ec2.*_timeout_s"
            ),
        ),
        ("ec2:DescribeInstances on x: denied", "ec2:DescribeInstances on x: denied"),
        ("https://ec2.eu-west-1.amazonaws.com: gone", "https://ec2.eu-west-1.amazonaws.com: gone"),
    ],
)
def test_keys_of_the_file_become_variables(filters, line, said):
    assert filters["nat_instance_words"](line, ["nat-a", "nat-b"]) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k" * 32, ""),
        ("k" * 32 + "\n" + "l" * 40 + "\n", ""),
        ("Grüße-aus-der-Zone-a-und-der-Zone-b-0123", "holds characters outside ASCII"),
        ("s3cret" * 4, "the key in line 1 is too short: 24 of at least 32 characters"),
        ("\n", "holds no key"),
    ],
)
def test_a_key_is_refused_as_the_engine_refuses_it_and_never_shown(filters, text, said):
    found = filters["nat_instance_key_problem"](text)
    assert said in found and bool(found) == bool(said)
    assert text.strip() == "" or text not in found


SSH = {"port": 22, "networks": ["192.0.2.0/24"]}
FROM = {"address": "192.0.2.7", "port": 22}
CLOSED = {"nat_instance_input_rules": True}


@pytest.mark.parametrize(
    ("given", "connection", "refused"),
    [
        ({}, FROM, False),
        (CLOSED, FROM, True),
        (CLOSED, {}, False),  # SSM, a console
        ({**CLOSED, "nat_instance_input_allow": [SSH]}, FROM, False),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "protocol": "udp"}]}, FROM, True),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "port": "2222"}]}, FROM, True),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "port": "2222"}]}, {**FROM, "port": 2222}, False),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "networks": ["192.0.3.0/24"]}]}, FROM, True),
        ({**CLOSED, "nat_instance_input_allow": [SSH]}, {"address": "127.0.0.1", "port": 22}, False),
        ({**CLOSED, "nat_instance_input_allow": [SSH]}, {"address": "2001:db8::1", "port": 22}, False),
        (
            {**CLOSED, "nat_instance_sources": ["10.0.0.0/16", "fd00:1::/48"]},
            {"address": "2001:db8::1", "port": 22},
            True,
        ),
        ({**CLOSED, "nat_instance_witness": True}, FROM, False),
    ],
)
def test_rules_that_would_lock_out_the_connection_of_the_role_are_refused(plan, given, connection, refused):
    problem = plan(NODES, host={"memory_kib": 425_000, "ssh_connection": connection}, **given)["problem"]
    assert bool(problem) == refused and "\n" not in problem
    if refused:
        assert problem.startswith("nat_instance_input_allow (got [")
        assert f"from {connection['address']} to port {connection['port']}; add {{port: " in problem


def test_ports_are_closed_only_where_that_was_asked_for(plan):
    assert "input" not in plan(NODES, nat_instance_input_allow=[SSH])["config"]
    assert plan(NODES, **CLOSED)["config"]["input"] == {"allow": []}
    asked = plan(NODES, nat_instance_input_rules="yes", nat_instance_input_allow=[SSH])
    assert asked["config"]["input"] == {"allow": [SSH]} and asked["problem"] == ""
    bad = plan(NODES, **CLOSED, nat_instance_input_allow=[{**SSH, "networks": ["10.0.0.1/8"]}])["problem"]
    assert bad.startswith("nat_instance_input_allow[0].networks: ") and "host bits" in bad


PRESENT = {
    "self": "nat-a",
    "cluster": "prod",
    "region": "eu-west-1",
    "nodes": [{"name": "nat-a"}],
}


@pytest.mark.parametrize(
    ("present", "given", "restart"),
    [
        (PRESENT, {}, False),
        (PRESENT, {"nat_instance_mode": "observe"}, False),
        (PRESENT, {"nat_instance_heartbeat": {"port": 4710}}, False),
        (PRESENT, {"nat_instance_heartbeat": {"port": 4711}}, True),
        (PRESENT, {"nat_instance_ec2": {"poll_s": 7}}, True),
        (PRESENT, {"nat_instance_witness": True}, True),
        ({**PRESENT, "nodes": [{"name": "nat-a", "witness": True}]}, {}, True),
        ({**PRESENT, "cluster": "old"}, {}, True),
        ({**PRESENT, "heartbeat": {"port": 5000}}, {}, True),
        ({}, {}, True),
    ],
)
def test_what_a_reload_refuses_needs_a_restart(plan, present, given, restart):
    import json

    host = {"memory_kib": 1, "config": json.dumps(present) if present else ""}
    assert plan(NODES, host=host, **given)["needs_restart"] is restart


def test_a_damaged_configuration_needs_a_restart(plan):
    assert plan(NODES, host={"memory_kib": 1, "config": "{"})["needs_restart"] is True


# --- the kernel -----------------------------------------------------------------------------------------------------

TABLE = "net/netfilter/nf_conntrack_"
# memory in KiB, what is given, and the table's size and number of buckets
TABLES = (
    (425_000, {}, 98304, 98304),  # a t4g.nano
    (100_000, {}, 65536, 65536),
    (999_999_999, {}, 4194304, 4194304),
    (425_000, {"max": "100000"}, 100_000, 106_496),
    (425_000, {"max": 0}, None, None),
)


@pytest.mark.parametrize(("memory_kib", "given", "size", "buckets"), TABLES)
def test_the_connection_table_is_sized_by_memory_and_what_is_0_stays(plan, memory_kib, given, size, buckets):
    found = plan(host={"memory_kib": memory_kib}, nat_instance_conntrack={**given, "udp_s": "0"})["conntrack"]
    assert (found.get(TABLE + "max"), found.get(TABLE + "buckets")) == (size, buckets)
    assert found[TABLE + "tcp_timeout_established"] == 7440 and found[TABLE + "tcp_be_liberal"] == 1
    assert TABLE + "udp_timeout" not in found


def test_kernel_settings_are_compared_as_the_kernel_writes_them(plan):
    found = plan(nat_instance_sources=["10.0.0.0/16", "2001:db8::/56"])
    assert found["ipv6"] and found["sysctls"]["net/ipv6/conf/all/forwarding"] == "1"
    assert found["sysctls"]["net/ipv4/conf/ens5/rp_filter"] == "2"
    assert all(isinstance(value, str) for value in found["sysctls"].values())
    assert "net/ipv6/conf/all/forwarding" not in plan()["sysctls"]


def test_packages_that_the_query_does_not_name_are_missing(plan):
    found = plan(host={"packages": ["installed iptables", "not-installed procps"]}, packages=["procps", "iptables"])
    assert found["missing_packages"] == ["procps"]


@pytest.mark.parametrize(("given", "seconds"), [({}, 25), ({"wait_s": 20.2}, 31), ({"wait_s": "1"}, 11)])
def test_systemd_waits_longer_than_a_hand_over_takes(plan, given, seconds):
    assert plan(nat_instance_handover=given)["stop_timeout_s"] == seconds


# --- the units ------------------------------------------------------------------------------------------------------

UNITS = ("nat-failover-rules.service", "nat-failover-repair.socket", "nat-failover-canary.service")
UNITS += ("nat-failover.service", "nat-failover-handover.service")


def shown(**changes):
    """The output of systemctl when all is well but for ``changes`` of a unit by the end of its name."""
    blocks = []
    for unit in UNITS:
        facts = {"Id": unit, "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        facts.update(changes.get(unit.rsplit("-", maxsplit=1)[-1].partition(".")[0], {}))
        blocks.append("\n".join("{}={}".format(*pair) for pair in facts.items()))
    return "\n\n".join(blocks)


STALE = {"NeedDaemonReload": "yes"}


@pytest.mark.parametrize(
    ("given", "states", "expected"),
    [
        ({}, {}, []),
        ({"nat_instance_witness": True}, {}, []),
        (
            {"nat_instance_witness": True},
            {"failover": {"UnitFileState": "disabled"}},
            [("nat-failover.service", "started", True, False)],
        ),
        ({}, {"canary": STALE}, [("nat-failover-canary.service", "restarted", True, True)]),
        ({}, {"failover": STALE}, [("nat-failover.service", "started", True, True)]),
        (
            {},
            {"rules": {"ActiveState": "inactive", "UnitFileState": ""}, "handover": {"UnitFileState": "disabled"}},
            [
                ("nat-failover-rules.service", "started", True, False),
                ("nat-failover-handover.service", "started", True, False),
            ],
        ),
        (
            {"nat_instance_canary": {"enabled": "no"}},
            {},
            [("nat-failover-canary.service", "stopped", False, False)],
        ),
        (
            {"nat_instance_service_state": "stopped", "nat_instance_service_enabled": "false"},
            {},
            [("nat-failover.service", "stopped", False, False)],
        ),
        (
            {"nat_instance_witness": "true"},
            {"failover": {"ActiveState": "activating"}},
            [("nat-failover.service", "started", True, False)],
        ),
    ],
)
def test_only_units_that_are_not_plainly_right_are_touched(plan, filters, given, states, expected):
    differing = filters["nat_instance_units_differing"](plan(**given)["units"], shown(**states))
    assert [(unit["name"], unit["state"], unit["enabled"], unit["reload"]) for unit in differing] == expected


def test_the_hand_over_is_started_last_since_systemd_stops_in_reverse(plan):
    assert [unit["name"] for unit in plan()["units"]] == list(UNITS)


# --- metrics --------------------------------------------------------------------------------------------------------

WEB_UNIT = "/etc/systemd/system/nat-failover-web.service"


def unit_names(made):
    return [unit["name"] for unit in made["units"]]


@pytest.mark.parametrize(
    "given", [{}, {"enabled": False}, {"enabled": False, "listen": "10.0.0.10"}, {"enabled": "no"}]
)
def test_nothing_is_shown_over_http_that_nobody_asked_for(plan, given):
    made = plan(NODES, nat_instance_web=given)
    assert (made["web"]["enabled"], made["problem"]) == (False, "")
    assert "nat-failover-web.service" not in unit_names(made)
    assert made["absent_units"] == []


def test_metrics_that_are_switched_off_leave_no_unit(plan):
    host = {"memory_kib": 425_000, "optional": [WEB_UNIT]}
    assert plan(NODES, host=host)["absent_units"] == [WEB_UNIT]
    assert plan(NODES, host=host, nat_instance_web={"enabled": True})["absent_units"] == []


@pytest.mark.parametrize("witness", [False, True])
def test_metrics_that_are_wanted_have_a_unit(plan, witness):
    made = plan(
        NODES,
        nat_instance_witness=witness,
        nat_instance_web={"listen": "10.0.0.10", "allow": "10.0.9.0/24", "names": ["NAT-A.example.com"]},
    )
    assert "nat-failover-web.service" in unit_names(made)
    assert made["web"]["allow"] == ["10.0.9.0/24"]
    assert made["web"]["arguments"] == (
        '"web" "--cluster" "prod" "--node" "nat-a" "--listen" "10.0.0.10" "--port" "9743" '
        '"--allow" "10.0.9.0/24" "--name" "nat-a.example.com"'
    )


def test_a_name_cannot_leave_its_word_of_the_command_line(plan):
    made = plan(NODES, nat_instance_web={"enabled": True}, nat_instance_cluster='a" --port 1 %i $x \\')
    assert '"a\\" --port 1 %%i $$x \\\\"' in made["web"]["arguments"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"listen": "0.0.0.0"}, ["nat_instance_web.listen", "0.0.0.0", "nat_instance_web.allow"]),
        ({"listen": "203.0.113.10"}, ["nat_instance_web.listen", "203.0.113.10"]),
        ({"listen": "nat-a"}, ["nat_instance_web.listen", "'nat-a'"]),
        ({"port": 80}, ["nat_instance_web.port", "80"]),
        ({"allow": ["0.0.0.0/0"]}, ["nat_instance_web.allow", "169.254.169.254"]),
        ({"names": ["http://x"]}, ["nat_instance_web.names", "http://x"]),
    ],
)
def test_metrics_that_would_be_open_to_others_are_refused_in_one_line(plan, given, words):
    problem = plan(NODES, nat_instance_web=given)["problem"]
    assert all(word in problem for word in words), problem
    assert "\n" not in problem


# --- metrics for CloudWatch -----------------------------------------------------------------------------------------

CLOUDWATCH_UNIT = "/etc/systemd/system/nat-failover-cloudwatch.service"


@pytest.mark.parametrize("given", [{}, {"enabled": False}, {"enabled": False, "emf": "file"}])
def test_nothing_is_written_for_cloudwatch_that_nobody_asked_for(plan, given):
    made = plan(NODES, host={"memory_kib": 425_000, "optional": [CLOUDWATCH_UNIT]}, nat_instance_cloudwatch=given)
    assert (made["cloudwatch"]["enabled"], made["problem"]) == (False, "")
    assert "nat-failover-cloudwatch.service" not in unit_names(made)
    assert made["absent_units"] == [CLOUDWATCH_UNIT]


@pytest.mark.parametrize(
    ("given", "interval", "file"),
    [
        ({"enabled": True}, "60", ""),
        ({"emf": "journal", "interval_s": 30}, "30", ""),
        ({"emf": "file"}, "60", ' "--file" "/run/nat-failover-cloudwatch/metrics.log"'),
    ],
)
def test_metrics_for_cloudwatch_go_where_they_are_wanted(plan, given, interval, file):
    made = plan(NODES, nat_instance_cloudwatch=given)
    assert "nat-failover-cloudwatch.service" in unit_names(made)
    assert made["new_units"] == ["nat-failover-cloudwatch.service"]
    words = f'"cloudwatch" "--cluster" "prod" "--node" "nat-a" "--interval" "{interval}"{file}'
    assert made["cloudwatch"]["arguments"] == words


def test_an_interval_that_does_not_fit_is_refused_in_one_line(plan):
    problem = plan(NODES, nat_instance_cloudwatch={"interval_s": 1})["problem"]
    assert problem.startswith("nat_instance_cloudwatch.interval_s") and "\n" not in problem


# --- hooks ----------------------------------------------------------------------------------------------------------

HOOKS_UNIT = "/etc/systemd/system/nat-failover-hooks.service"
CHAT = {"name": "chat", "run": ["/opt/hooks/chat"], "events": ["adopt"]}


def test_hooks_that_are_wanted_have_a_unit_and_others_none(plan):
    host = {"memory_kib": 425_000, "optional": [WEB_UNIT, HOOKS_UNIT]}
    made = plan(NODES, host=host, nat_instance_hooks=[CHAT])
    assert "nat-failover-hooks.service" in unit_names(made)
    assert made["new_units"] == []
    assert plan(NODES, nat_instance_hooks=[CHAT])["new_units"] == ["nat-failover-hooks.service"]
    assert made["absent_units"] == [WEB_UNIT]
    assert made["hooks"]["arguments"] == (
        r'"hooks" "--hook" "{\"name\": \"chat\", \"run\": [\"/opt/hooks/chat\"], '
        r'\"events\": [\"adopt\"], \"timeout_s\": 10.0}"'
    )
    assert plan(NODES, host=host)["absent_units"] == [WEB_UNIT, HOOKS_UNIT]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run": ["chat"]}, ["nat_instance_hooks[0].run", "absolute", "'chat'"]),
        ({"run": ["/opt/hooks/gone"]}, ["nat_instance_hooks[0].run", "/opt/hooks/gone is not there"]),
        ({"events": ["failover"]}, ["nat_instance_hooks[0].events", "'failover'", "adopt"]),
    ],
)
def test_a_hook_that_cannot_run_is_refused_in_one_line(plan, given, words):
    host = {"memory_kib": 425_000, "executable_problems": {"/opt/hooks/gone": "is not there"}}
    problem = plan(NODES, host=host, nat_instance_hooks=[{**CHAT, **given}])["problem"]
    assert all(word in problem for word in words), problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("given", "host", "said"),
    [
        (
            {"flowtable": True},
            {"flowtable": False},
            "flowtable (got true): the kernel 6.1 of this host has no flow tables",
        ),
        ({"flowtable": True}, {"flowtable": True}, ""),
        ({"flowtable": False}, {"flowtable": False}, ""),
        (
            {"receive_cpus": "0-2"},
            {},
            "receive_cpus (got '0-2'): this host has no CPU 2; it has 0-1; name some of these",
        ),
        ({"receive_cpus": "1"}, {}, ""),
        ({"receive_cpus": "all"}, {}, ""),
        ({"receive_cpus": "none"}, {}, ""),
        ({"receive_cpus": "0-2"}, {"online_cpus": ""}, ""),
        ({"receive_cpus": "two"}, {}, "nat_instance_acceleration.receive_cpus: is no list of CPUs (got 'two')"),
    ],
)
def test_what_the_host_lacks_is_refused_before_anything_is_changed(plan, given, host, said):
    facts = {"memory_kib": 425_000, "kernel": "6.1", "online_cpus": "0-1", **host}
    problem = plan(NODES, host=facts, nat_instance_acceleration=given)["problem"]
    assert said in problem if said else problem == ""
    assert plan(NODES, host=facts, nat_instance_acceleration=given)["config"]["acceleration"] == given


def test_a_witness_carries_no_packets_and_lacks_nothing(load):
    problem = load("plugin_utils.nat_instance.acceleration").problem
    asked = {"acceleration": {"flowtable": True, "receive_cpus": "9"}, "witness": True}
    assert problem(asked, {"online_cpus": "0"}) == "" != problem({**asked, "witness": False}, {"online_cpus": "0"})


# --- services that routes depend on -------------------------------------------------------------------------------------

VIP = "100.64.99.1/32"
PROXY = {"name": "proxy", "file": "/run/aws-ha-egress-health/verdict.json", "destinations": [VIP]}


def defaults_on(host, **given):
    """The default of nat_instance_services, as Ansible's Jinja makes it."""
    files = [ROOT / "roles/nat_instance" / name for name in ("defaults/main.yml", "vars/main.yml")]
    defaults, own = (yaml.safe_load(each.read_text(encoding="utf-8")) for each in files)
    variables = {"inventory_hostname": host, "groups": {"proxy_nodes": ["nat-a"]}, **defaults, **given}
    assert defaults["nat_instance_services"] == "{{ __nat_instance_proxy_services }}"
    value = trust_as_template(own["__nat_instance_proxy_services"])
    return Templar(loader=DataLoader(), variables=variables).template(value)


@pytest.mark.parametrize(
    ("host", "given", "found"),
    [
        ("nat-a", {"proxy_address": "100.64.99.1", "nat_instance_destinations": ["0.0.0.0/0", VIP]}, [PROXY]),
        ("nat-a", {"proxy_address": "100.64.99.1"}, []),
        ("nat-a", {"proxy_address": "", "nat_instance_destinations": ["0.0.0.0/0", VIP]}, []),
        ("nat-a", {}, []),
        ("nat-b", {"proxy_address": "100.64.99.1", "nat_instance_destinations": ["0.0.0.0/0", VIP]}, []),
        (
            "nat-b",
            {
                "proxy_address": "100.64.99.1",
                "nat_instance_destinations": [VIP],
                "proxy_group": "mine",
                "groups": {"mine": ["nat-b"]},
            },
            [PROXY],
        ),
        ("nat-a", {"proxy_address": "100.64.99.1", "nat_instance_destinations": [VIP], "groups": {}}, []),
    ],
)
def test_the_proxy_of_this_node_is_a_service_by_default(host, given, found):
    assert defaults_on(host, **given) == found


def test_services_are_in_the_configuration_only_where_there_are_some(plan):
    served = {"nat_instance_destinations": ["0.0.0.0/0", VIP], "nat_instance_services": [PROXY]}
    assert plan(**served)["config"]["services"] == [PROXY]
    assert "services" not in plan(nat_instance_services=[])["config"]
    assert "services" not in plan(**served, nat_instance_witness=True)["config"]


def test_a_bad_service_is_refused_in_the_words_of_the_role(plan, cluster):
    nodes = cluster({"nat-a": A, "nat-b": B})["nodes"]
    bad = {**PROXY, "destinations": ["0.0.0.0/0"]}
    problem = plan(nodes, nat_instance_services=[bad])["problem"]
    assert problem.startswith("nat_instance_services[0].destinations: is the default route"), problem


# --- identities ---------------------------------------------------------------------------------------------------------

IDENTITY_A = {
    "nat_instance_egress_address": "eipalloc-0aaaaaaaaaaaaaaaa",
    "nat_instance_egress_private_address": "10.0.0.20",
    "nat_instance_egress_networks": ["10.0.10.0/24"],
}
WAITS_FOR_A = {"nat_instance_egress_waiting": {"nat-a": "10.0.1.21"}}


def test_the_identities_of_all_nodes_are_in_the_configuration(plan, cluster):
    nodes = cluster({"nat-a": {**A, **IDENTITY_A}, "nat-b": {**B, **WAITS_FOR_A}})["nodes"]
    config = plan(nodes)["config"]
    assert config["nodes"][0]["egress_address"] == "eipalloc-0aaaaaaaaaaaaaaaa"
    assert config["nodes"][0]["egress_networks"] == ["10.0.10.0/24"]
    assert config["nodes"][1]["egress_waiting"] == {"nat-a": "10.0.1.21"}
    assert plan(nodes)["problem"] == ""


def test_without_an_egress_address_the_configuration_has_no_such_key(plan, cluster):
    nodes = cluster({"nat-a": A, "nat-b": B})["nodes"]
    assert not any("egress" in key for node in plan(nodes)["config"]["nodes"] for key in node)


def test_a_bad_identity_is_refused_in_the_words_of_the_role(plan, cluster):
    bad = {**IDENTITY_A, "nat_instance_egress_networks": ["192.0.2.0/24"]}
    nodes = cluster({"nat-a": {**A, **bad}, "nat-b": B})["nodes"]
    problem = plan(nodes)["problem"]
    assert problem.startswith("nat_instance_egress_networks of nat-a: is in none of the sources"), problem


@pytest.mark.parametrize(
    "own, variable, address",
    [
        ({"nat_instance_egress_private_address": "10.0.1.20"}, "nat_instance_egress_private_address", "10.0.1.20"),
        ({"nat_instance_egress_waiting": {"nat-b": "10.0.1.21"}}, "nat_instance_egress_waiting", "10.0.1.21"),
    ],
)
def test_an_address_outside_of_the_subnet_of_the_interface_is_refused(plan, cluster, own, variable, address):
    other = {**IDENTITY_A, "nat_instance_egress_address": "eipalloc-0bbbbbbbbbbbbbbbb"}
    other.update(nat_instance_egress_private_address="10.0.1.30", nat_instance_egress_networks=["10.0.11.0/24"])
    nodes = cluster({"nat-a": {**A, **IDENTITY_A, **own}, "nat-b": {**B, **other}})["nodes"]
    assert plan(nodes)["problem"] == ""  # the subnet is not known
    problem = plan(nodes, network="10.0.0.10/255.255.255.0")["problem"]
    assert problem.startswith(f"{variable} (got '{address}') is outside of 10.0.0.0/24, the subnet of ens5"), problem
