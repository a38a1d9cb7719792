# SPDX-License-Identifier: GPL-3.0-or-later
"""Units that report: metrics over HTTP, metrics for CloudWatch, hooks."""

from __future__ import annotations

import pytest

from .given import NODES, unit_names

# --- metrics --------------------------------------------------------------------------------------------------------


WEB_UNIT = "/etc/systemd/system/nat-failover-web.service"


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
