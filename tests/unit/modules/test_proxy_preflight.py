# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad variables of the role ``proxy``: one sentence each, with the value and the remedy, before anything is changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from .conftest import ROOT
from .proxy_given import GIVEN

VIP = {"address": "100.64.99.1", "nat_destinations": ["0.0.0.0/0", "100.64.99.1/32"]}
# The fault, and the words that the sentence must hold.
REFUSALS = {
    "everybody": (
        {"sources": ["0.0.0.0/0"]},
        "proxy_sources: 0.0.0.0/0 is not private",
        "open to strangers",
        "10.0.0.0/16",
    ),
    "strangers": ({"sources": ["10.0.0.0/16", "8.8.8.0/24"]}, "8.8.8.0/24 is not private"),
    "half of 10/7": ({"sources": ["10.0.0.0/7"]}, "10.0.0.0/7 is not private"),
    "all of IPv6": ({"sources": ["::/0"]}, "::/0 is not private"),
    "a provider's IPv6": ({"sources": ["2a05:d018::/36"]}, "2a05:d018::/36 is not private"),
    "nobody": ({"sources": []}, "proxy_sources is empty", "10.0.0.0/16"),
    "host bits": ({"sources": ["10.0.0.5/8"]}, "proxy_sources: 10.0.0.5/8 has bits", "write 10.0.0.0/8"),
    "no network": ({"sources": ["vpc"]}, "proxy_sources: 'vpc' is no network"),
    "a health check for strangers": (
        {"health_sources": ["0.0.0.0/0"]},
        "proxy_health_sources: 0.0.0.0/0 is not private",
    ),
    "a star inside": (
        {"policy": "allow_list", "destinations": ["a.*.test"]},
        "proxy_destinations: 'a.*.test' is no host name",
        "*.debian.org",
    ),
    "a URL": (
        {"policy": "allow_list", "destinations": ["http://x.test"]},
        "'http://x.test' is not written plainly; write x.test",
    ),
    "two dots": (
        {"destinations_denied": ["a..b"]},
        "proxy_destinations_denied: 'a..b' is not written plainly; write a.b",
    ),
    "a list of nothing": ({"policy": "allow_list"}, "allow_list without proxy_destinations", "open"),
    "a list that is not asked for": (
        {"destinations": ["a.test"]},
        "proxy_destinations",
        "set proxy_policy to allow_list",
    ),
    "contained": (
        {"policy": "allow_list", "destinations": [".a.test", "x.a.test"]},
        "x.a.test is contained in .a.test; leave x.a.test out",
    ),
    "allowed and denied": (
        {"policy": "allow_list", "destinations": ["x.a.test"], "destinations_denied": [".a.test"]},
        "x.a.test is denied by .a.test",
    ),
    "two lists of tinyproxy": (
        {
            "engine": "tinyproxy",
            "policy": "allow_list",
            "destinations": [".a.test"],
            "destinations_denied": ["x.a.test"],
        },
        "tinyproxy has one list",
        "proxy_engine squid",
    ),
    "tunnels for SSH": ({"ports": [22, 443], "connect_ports": [22]}, "proxy_connect_ports: 22 would tunnel SSH"),
    "tunnels for mail": ({"ports": [25], "connect_ports": [25]}, "25 would tunnel SMTP"),
    "a tunnel that the guard refuses": ({"connect_ports": [8443]}, "8443 is not in proxy_ports", "add it there"),
    "port 0": ({"port": 0}, "proxy_port: 0 is no port", "1 to 65535"),
    "port true": ({"port": True}, "proxy_port: True is no port"),
    "no ports": ({"ports": []}, "proxy_ports is empty"),
    "one port for two": ({"health_port": 3128}, "proxy_health_port: 3128 is proxy_port, too", "3129"),
    "an address inside the VPC": ({**VIP, "address": "10.0.99.1"}, "10.0.99.1 lies in 10.0.0.0/16", "100.64.99.1"),
    "an address without nat_instance": ({"address": "100.64.99.1"}, "moves with the role nat_instance"),
    "an address without a route": (
        {"address": "100.64.99.1", "nat_destinations": ["0.0.0.0/0"]},
        "set nat_instance_destinations: [0.0.0.0/0, 100.64.99.1/32]",
    ),
    "an address without its length": (
        {"address": "100.64.99.1", "nat_destinations": ["0.0.0.0/0", "100.64.99.1"]},
        "100.64.99.1/32]",
    ),
    "no address": ({**VIP, "address": "proxy.test"}, "proxy_address: 'proxy.test' is no IPv4 address"),
    "a hole to the metadata": (
        {"private_destinations": [{"network": "169.254.169.254/32", "port": 80}]},
        "169.254.169.254/32 would open 169.254.0.0/16",
    ),
    "a hole to everything": ({"private_destinations": [{"network": "0.0.0.0/0", "port": 80}]}, "0.0.0.0/0 would open"),
    "a hole without a port": ({"private_destinations": [{"network": "10.0.5.7/32"}]}, "needs network and port"),
    "health without a port": ({"health_destinations": ["a.test"]}, "'a.test' has no port; write e.g. a.test:443"),
    "health that is a tree": ({"health_destinations": [".a.test:443"]}, "is no single host"),
    "health beyond the guard": ({"health_destinations": ["a.test:8443"]}, "port 8443", "not in proxy_ports"),
    "health that is denied": (
        {"health_destinations": ["x.a.test:443"], "destinations_denied": [".a.test"]},
        "in proxy_destinations_denied",
    ),
    "health of no region": ({"region": ""}, "the region is not known; set proxy_region"),
    "no guard": ({"guard": False}, "proxy_guard", "proxy_guard_off_understood: true"),
    "too idle": ({"idle_timeout_s": 350}, "proxy_idle_timeout_s: 350 is not a whole number from 10 to 349"),
    "no clients": ({"max_clients": 0}, "proxy_max_clients: 0 is not a whole number"),
    "memory in words": ({"memory_max": "much"}, "proxy_memory_max: 'much' is no size"),
    "an engine that is none": ({"engine": "nginx"}, "proxy_engine: 'nginx' is not one of squid, tinyproxy"),
    "a line that allows": ({"squid_lines": ["http_access allow all"]}, "'http_access allow all'", "leave the line out"),
    "a line of the role's": ({"squid_lines": ["http_port 80"]}, "'http_port 80'"),
    "two lines in one": ({"squid_lines": ["client_lifetime 1 day\nhttp_access allow all"]}, "is not one line"),
    "an address of another host": (
        {"squid_lines": ["tcp_outgoing_address 10.9.9.9"]},
        "proxy_squid_lines: 'tcp_outgoing_address 10.9.9.9': this host has no address 10.9.9.9; it has 10.0.0.10, ",
    ),
    "an address of another host, tinyproxy": (
        {"engine": "tinyproxy", "tinyproxy_lines": ["Bind 10.9.9.9"]},
        "proxy_tinyproxy_lines: 'Bind 10.9.9.9': this host has no address 10.9.9.9",
    ),
    "tinyproxy elsewhere": ({"engine": "tinyproxy", "tinyproxy_lines": ["Listen 10.9.9.9"]}, "'Listen 10.9.9.9'"),
    "tinyproxy for all": ({"engine": "tinyproxy", "tinyproxy_lines": ["Allow 0.0.0.0/0"]}, "'Allow 0.0.0.0/0'"),
}


@pytest.fixture
def filters(load):
    return load("filter.proxy")


@pytest.mark.parametrize("case", sorted(REFUSALS))
def test_one_sentence(filters, case):
    change, *words = REFUSALS[case]
    sentence = filters.proxy_refusal({**GIVEN, **change})
    assert [word for word in words if word not in sentence] == [], sentence
    assert "\n" not in sentence.replace(str(change), "") and not re.search(r"\(\?|\[\^|\\d", sentence)


@pytest.mark.parametrize(
    "change",
    [
        {},
        VIP,
        {"engine": "tinyproxy", "destinations_denied": [".evil.test"]},
        {
            "policy": "allow_list",
            "destinations": [".a.test", "*.b.test", "c.test"],
            "destinations_denied": ["x.a.test"],
        },
        {"guard": False, "guard_off_understood": True},
        {"port": "3128", "max_clients": "50"},
        {"private_destinations": [{"network": "10.0.5.7/32", "port": "8080"}]},
        {"squid_lines": ["client_lifetime 1 day", "http_access deny all"]},
        {"squid_lines": ["tcp_outgoing_address 10.0.0.10 all", "tcp_outgoing_address 2001:db8:0:100:0::10"]},
        {"squid_lines": ["udp_outgoing_address 255.255.255.255"]},
        {"engine": "tinyproxy", "tinyproxy_lines": ["Bind 10.0.0.10"]},
        {"engine": "tinyproxy", "tinyproxy_lines": ["Bind 10.9.9.9"], "own_addresses": []},
    ],
)
def test_what_is_fine(filters, change):
    assert filters.proxy_refusal({**GIVEN, **change}) == ""
    assert filters.proxy_plan({**GIVEN, **change})["engine"]


def test_health_by_default_asks_ec2_and_sts_of_the_region(filters):
    assert filters.proxy_plan(GIVEN)["node"]["health"]["destinations"] == [
        ["ec2.eu-west-1.amazonaws.com", 443],
        ["sts.eu-west-1.amazonaws.com", 443],
    ]
    chinese = filters.proxy_plan({**GIVEN, "region": "cn-north-1"})
    assert chinese["squid"]["health"] == ["ec2.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn"]


def test_what_health_needs_beside_the_list_is_added_and_named(filters):
    listed = {**GIVEN, "policy": "allow_list", "destinations": [".debian.org", ".amazonaws.com"]}
    assert filters.proxy_plan(listed)["added_for_health"] == []
    listed["destinations"] = [".debian.org"]
    found = filters.proxy_plan({**listed, "engine": "tinyproxy"})
    assert found["added_for_health"] == ["ec2.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com"]
    assert len(found["tinyproxy"]["filter"]) == 3


def test_each_node_has_its_own_part_of_the_clock(filters):
    ranks = [filters.proxy_plan({**GIVEN, "node": node})["node"]["health"]["rank"] for node in GIVEN["nodes"]]
    assert ranks == [0, 1]


def test_the_vpcs_own_networks_are_no_destinations(filters):
    private = filters.proxy_plan(GIVEN)["node"]["guard"]["private"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7", "2001:db8:0:100::/56"} <= set(private)


def test_limits_follow_from_the_number_of_clients(filters):
    squid, tiny = (
        filters.proxy_plan({**GIVEN, "engine": engine, "max_clients": 500}) for engine in ("squid", "tinyproxy")
    )
    assert squid["max_files"] == tiny["max_files"] == 1256
    assert (squid["max_tasks"], tiny["max_tasks"]) == (32, 532)


SHOWN = """Id=squid.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no

Id=proxy-health.service
LoadState=loaded
ActiveState=failed
UnitFileState=enabled
NeedDaemonReload=yes

Id=tinyproxy.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
"""


def test_only_units_that_differ_are_touched(filters):
    by_name = filters.FilterModule().filters()
    units = [{"name": name, "enabled": True, "state": "started"} for name in ("squid.service", "proxy-health.service")]
    found = by_name["proxy_units_differing"](SHOWN, units)
    assert found == [{**units[1], "reload": True}]
    stopped = {"name": "squid.service", "enabled": False, "state": "stopped"}
    assert by_name["proxy_units_differing"](SHOWN, [stopped]) == [{**stopped, "reload": False}]
    assert by_name["proxy_units_to_stop"](SHOWN) == [{"name": "squid.service"}, {"name": "proxy-health.service"}]


# A case of each kind of bad input, for the role itself.
FOR_THE_ROLE = (
    *("everybody", "host bits", "a star inside", "a URL", "a list of nothing", "a list that is not asked for"),
    *("contained", "tunnels for SSH", "one port for two", "an address inside the VPC", "an address without a route"),
    *("a line that allows", "an address of another host"),
)


def test_the_role_says_so_before_it_changes_anything(collection, tmp_path):
    """A host for each case, in one run: one error each, and nothing is changed."""
    names = {"nat_destinations": "nat_instance_destinations"}
    hosts = {
        f"case{number}": {
            "proxy_sources": ["10.0.0.0/16"],
            "proxy_health_destinations": ["a.test:443"],
            **{names.get(key, "proxy_" + key): value for key, value in REFUSALS[case][0].items()},
        }
        for number, case in enumerate(FOR_THE_ROLE)
    }
    given = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": given}}))
    facts = {
        "os_family": "Debian",
        "distribution": "Debian",
        "distribution_major_version": "12",
        "default_ipv4": {"network": "10.0.0.0", "prefix": "24"},
        "all_ipv4_addresses": ["10.0.0.10", "10.0.1.10"],
    }
    play = {
        "hosts": "all",
        "gather_facts": False,
        "pre_tasks": [{"ansible.builtin.set_fact": {"cacheable": True, **facts}}],
        "roles": ["aws_ha.egress.proxy"],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collection),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORKS": "2",
    }
    argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "hosts.json", "play.yml"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    for number, case in enumerate(FOR_THE_ROLE):
        found = re.findall(rf"fatal: \[case{number}\]: FAILED! => (\{{.*\}})$", done.stdout, re.MULTILINE)
        assert len(found) == 1, f"{case}: {done.stdout}{done.stderr}"
        sentence = json.loads(found[0])["msg"]
        assert [word for word in REFUSALS[case][1:] if word not in sentence] == [], f"{case}: {sentence}"
        assert re.search(rf"^case{number} .* changed=0 .* failed=1 ", done.stdout, re.MULTILINE), case


def test_the_documented_defaults_are_the_defaults():
    import yaml

    role = ROOT / "roles" / "proxy"
    options = yaml.safe_load((role / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text("utf-8"))
    assert {name: option["default"] for name, option in options.items()} == defaults
