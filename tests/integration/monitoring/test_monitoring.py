# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus takes what ships: metrics, rules, queries, scrape configuration. Each alert fires in a situation, and has a section."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from nat_failover.web import exposition
from tests.integration.monitoring.exported import families

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[2] / "docs"
PAGE = (DOCS / "monitoring.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
TESTS = yaml.safe_load((HERE / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
DASHBOARD = json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = [rule["alert"] for rule in RULES]
NAMES = {family.name: family for family in families()}
SOURCES = ("up",)  # of Prometheus itself


def promtool(*argv: str, stdin: str = "") -> str:
    """Run promtool; what it wrote. It must succeed."""
    done = subprocess.run(["promtool", *argv], input=stdin, capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def queries() -> list[str]:
    """All queries of the dashboard, its variables' among them, as Prometheus gets them."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    found += [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    found = [each.replace("$__rate_interval", "1m").replace("$cluster", ".*").replace("$node", ".*") for each in found]
    variables = [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return found + [re.sub(r"label_values\((.*), \w+\)", r"\1", each).replace("$cluster", ".*") for each in variables]


def metrics_in(expression: str) -> set[str]:
    """The metrics that a query names."""
    return set(re.findall(r"\b(nat_failover_\w+|up)\b(?=[\s{)\[]|$)", expression))


def labels_in(expression: str) -> set[tuple[str, str]]:
    """Each metric with each label that the query selects it by."""
    return {
        (name, label)
        for name, selector in re.findall(r"(nat_failover_\w+)\{([^}]*)\}", expression)
        for label in re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", selector)
    }


# --- metrics --------------------------------------------------------------------------------------------------------


def test_prometheus_takes_the_metrics_and_has_nothing_against_their_names():
    """Each metric, with labels that need escapes: promtool's linter writes a line for whatever it does not like."""
    text = exposition.render(NAMES.values(), {"cluster": 'a"b\\c\nd', "node": "zone ä"})
    assert len(text.splitlines()) > 60
    assert promtool("check", "metrics", stdin=text) == ""


def test_a_label_that_is_not_escaped_would_be_noticed():
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input='# HELP nat_x X.\n# TYPE nat_x gauge\nnat_x{node="a"b"} 1\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0


def test_each_metric_has_samples_here_and_no_two_samples_are_the_same():
    for family in NAMES.values():
        assert family.samples, family.name
        found = [tuple(sorted(labels.items())) for labels, _value in family.samples]
        assert len(found) == len(set(found)), family.name


def test_the_page_lists_each_metric_with_its_type_and_labels_and_no_other():
    rows = re.findall(r"^\| `(nat_failover_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE, re.M)
    found = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _text in rows}
    assert found == {
        name: (family.kind, {label for labels, _value in family.samples for label in labels})
        for name, family in NAMES.items()
    }


# --- alerts ---------------------------------------------------------------------------------------------------------


def test_prometheus_takes_the_rules():
    assert f"SUCCESS: {len(ALERTS)} rules found" in promtool("check", "rules", str(DOCS / "alerts.yml"))


def test_the_alerts_are_raised_in_their_situations_and_in_no_others():
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_raised_in_a_situation_and_silent_in_a_quiet_cluster():
    raised = {each["alertname"] for test in TESTS for each in test["alert_rule_test"] if each.get("exp_alerts")}
    quiet = {each["alertname"] for each in TESTS[0]["alert_rule_test"] if not each.get("exp_alerts")}
    assert raised == quiet == set(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_an_alert_has_a_section_that_its_runbook_link_leads_to(rule):
    assert f"\n### {rule['alert']}\n" in PAGE
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/monitoring.md#{rule['alert'].lower()}")
    assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_each_section_is_that_of_an_alert():
    section = PAGE.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", section, re.M) == ALERTS


@pytest.mark.parametrize("rule", RULES, ids=ALERTS)
def test_an_alert_names_metrics_and_labels_that_there_are(rule):
    assert_known(rule["expr"])


def assert_known(expression: str) -> None:
    found = metrics_in(expression)
    assert found, expression
    assert found - set(NAMES) - set(SOURCES) == set()
    for name, label in labels_in(expression):
        known = {each for labels, _value in NAMES[name].samples for each in labels} | {"cluster", "node"}
        assert label in known, (name, label)


# --- dashboard ------------------------------------------------------------------------------------------------------


def test_each_query_of_the_dashboard_names_metrics_and_labels_that_there_are():
    assert len(queries()) > 15
    for each in queries():
        assert_known(each)


def test_prometheus_takes_each_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"dashboard:query{number}", "expr": expr} for number, expr in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for position in [panel["gridPos"]]
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _y in cells) < 24


# --- the page -------------------------------------------------------------------------------------------------------


def test_prometheus_takes_the_scrape_configuration_of_the_page(tmp_path):
    [text] = re.findall(r"```yaml\n# prometheus\.yml\n(.*?)```", PAGE, re.S)
    (tmp_path / "alerts.yml").write_text((DOCS / "alerts.yml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert f'job="{job["job_name"]}"' in next(
        rule["expr"] for rule in RULES if rule["alert"] == "NatFailoverTargetDown"
    )
