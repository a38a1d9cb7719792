# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them, on a node beside the real service and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from nat_failover.config import load as configuration
from tests.integration.e2e.cluster import ROOT, Cluster, running_cluster

ANSIBLE = Path(sys.executable).with_name("ansible")
HOLD_PORT = """
import socket, sys, time
holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
holder.bind(("0.0.0.0", int(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all: each test leaves everything at home."""
    with running_cluster(tmp_path_factory.mktemp("modules")) as running:
        yield running


def run(cluster: Cluster, node: str, command: list[str], *flags: str) -> Any:
    """One of Ansible's commands on a node, for that node; it finds this collection."""
    folder = cluster.folder / "collections" / "ansible_collections" / "aws_ha"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "egress").exists():
        (folder / "egress").symlink_to(ROOT)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(cluster.folder / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(cluster.folder / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(cluster.folder / "ansible"),
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }
    options = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", *flags]
    return cluster.lab.exec(node, [*command, *options], check=False, env=environment, timeout=90)


def module(cluster: Cluster, node: str, name: str, *flags: str, **arguments: Any) -> dict[str, Any]:
    """Run a module on a node; its result, failed or not."""
    arguments = {"config": str(cluster.folder / node / "config.json"), **arguments}
    command = [str(ANSIBLE), "localhost", "-m", f"aws_ha.egress.{name}", "-a", json.dumps(arguments)]
    done = run(cluster, node, command, *flags)
    line, arrow, text = done.stdout.partition("=> ")  # a diff comes before it
    assert arrow, done.stdout + done.stderr
    result: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
    result["failed"] = "FAILED!" in line
    return result


def owners(result: dict[str, Any]) -> dict[str, str]:
    return {claim["home"]: claim["owner"] for claim in result["claims"]}


def test_info_reads(cluster: Cluster) -> None:
    result = module(cluster, "nat-a", "nat_failover_info")
    assert owners(result) == {"nat-a": "nat-a", "nat-b": "nat-b"}
    assert [(row["peer"], row["verdict"]) for row in result["verdicts"]] == [("nat-b", "healthy")]
    assert "changed" not in result or result["changed"] is False


def test_drained_predicts_then_does_and_is_idempotent(cluster: Cluster) -> None:
    before = len(cluster.writes())
    predicted = module(cluster, "nat-a", "nat_failover", "--check", "--diff", state="drained")
    assert predicted["changed"] and owners(predicted)["nat-a"] == "nat-b"
    assert len(cluster.writes()) == before, "check mode changes nothing"
    assert module(cluster, "nat-a", "nat_failover", state="drained")["changed"]
    assert cluster.lab.owner("a") == "nat-b"
    assert not module(cluster, "nat-a", "nat_failover", state="drained")["changed"]
    assert module(cluster, "nat-a", "nat_failover", state="resumed")["changed"]
    cluster.settle()
    assert not module(cluster, "nat-a", "nat_failover", state="converged")["changed"]


def test_named_tables_are_taken(cluster: Cluster) -> None:
    table = cluster.lab.ids.zones["a"].route_table
    predicted = module(cluster, "nat-b", "nat_failover", "--check", route_tables=[table])
    assert predicted["changed"] and cluster.lab.owner("a") == "nat-a"
    taken = module(cluster, "nat-b", "nat_failover", route_tables=[table])
    assert taken["changed"] and owners(taken)["nat-a"] == "nat-b"
    assert [row["after"] for row in taken["actions"]] == ["nat-b"]
    cluster.settle()


def test_a_pause_is_for_the_whole_cluster_and_a_second_one_changes_nothing(cluster: Cluster) -> None:
    assert module(cluster, "nat-a", "nat_failover", "--check", state="paused")["changed"]
    assert module(cluster, "nat-a", "nat_failover", state="paused", pause_for="10m")["changed"]
    assert not module(cluster, "nat-a", "nat_failover", state="paused", pause_for="10m")["changed"]
    cluster.wait("nat-b knows", lambda: "PAUSED" in cluster.status("nat-b")["summary"])
    assert module(cluster, "nat-b", "nat_failover", state="unpaused")["changed"]
    assert not module(cluster, "nat-b", "nat_failover", state="unpaused")["changed"]
    cluster.wait("nat-a knows", lambda: "PAUSED" not in cluster.status("nat-a")["summary"])
    assert "7 days" in module(cluster, "nat-a", "nat_failover", state="paused", pause_for="9d")["msg"]


def test_the_documented_examples_run_as_they_stand(cluster: Cluster) -> None:
    """But for the ids, and the configuration's place, which the action group node gives to those that work on one."""
    zone = cluster.lab.ids.zones["a"]
    text = "".join(examples(name) for name in ("nat_failover", "nat_failover_info", "source_dest_check"))
    text = text.replace("rtb-0aaaaaaaaaaaaaaaa", zone.route_table).replace("i-0aaaaaaaaaaaaaaaa", zone.instance_id)
    assert text.count("- name: ") == 7
    config = cluster.folder / "nat-a" / "config.json"
    endpoint = json.loads(config.read_text(encoding="utf-8"))["ec2"]["endpoint_url"]
    play: dict[str, Any] = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {
            "group/aws_ha.egress.node": {"config": str(config)},
            "aws_ha.egress.source_dest_check": {"endpoint_url": endpoint},
        },
        "tasks": yaml.safe_load(text),
    }
    book = cluster.folder / "examples.yml"
    book.write_text(json.dumps([play]), encoding="utf-8")
    done = run(cluster, "nat-a", [str(ANSIBLE.with_name("ansible-playbook")), str(book)])
    assert done.returncode == 0, done.stdout + done.stderr
    cluster.settle()


def examples(name: str) -> str:
    """The section EXAMPLES of a module."""
    source = (ROOT / "plugins" / "modules" / f"{name}.py").read_text(encoding="utf-8")
    return source.partition('EXAMPLES = r"""')[2].partition('"""')[0]


def test_an_unknown_table_is_refused(cluster: Cluster) -> None:
    result = module(cluster, "nat-b", "nat_failover", route_tables=["rtb-00000000000000000"])
    assert result["failed"] and "no node claims rtb-00000000000000000" in result["msg"]


def test_a_service_that_is_about_to_answer_is_asked(cluster: Cluster) -> None:
    """Seconds after a boot: the service has the port for heartbeats, and its control socket is not there yet."""
    lab = cluster.lab
    cluster.service("nat-b").terminate()
    assert cluster.service("nat-b").wait(timeout=5) == 0
    holder = lab.host("nat-b").popen(
        [
            sys.executable,
            "-c",
            HOLD_PORT,
            str(configuration.load(str(cluster.folder / "nat-b" / "config.json")).heartbeat.port),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(module, cluster, "nat-b", "nat_failover_info")
        time.sleep(4.0)  # the module has met the port by then
        holder.kill()
        holder.wait()
        cluster.start(lab.host("nat-b"))
        answer = asked.result()
    assert not answer["failed"] and answer["verdicts"], answer
    cluster.settle()


def test_a_service_that_begins_while_a_module_observes_gets_the_port(cluster: Cluster) -> None:
    """The peer is silent, so the observation would go on for 15 s, and the service would end for want of its port."""
    for node in ("nat-a", "nat-b"):
        cluster.service(node).terminate()
        assert cluster.service(node).wait(timeout=5) == 0
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(module, cluster, "nat-b", "nat_failover_info")
        port = configuration.load(str(cluster.folder / "nat-b" / "config.json")).heartbeat.port
        command = ["ss", "--no-header", "--udp", "--listening", "--numeric", f"sport = :{port}"]
        cluster.wait("the module has the port", lambda: bool(cluster.lab.exec("nat-b", command).stdout), 30)
        cluster.start(cluster.lab.host("nat-b"))
        answer = asked.result()
    assert not answer["failed"] and answer["claims"], answer
    assert cluster.service("nat-b").poll() is None and cluster.events("nat-b", "port_taken")
    cluster.start(cluster.lab.host("nat-a"))
    cluster.settle()


def test_without_the_service_the_module_is_the_service_for_a_moment(cluster: Cluster) -> None:
    lab = cluster.lab
    for node in ("nat-a", "nat-b"):
        cluster.service(node).terminate()
        assert cluster.service(node).wait(timeout=5) == 0
    table = lab.ids.zones["a"].route_table
    lab.client().delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    predicted = module(cluster, "nat-a", "nat_failover", "--check", wait_timeout=10)
    assert predicted["changed"] and owners(predicted)["nat-a"] == "nat-a" and lab.owner("a") is None
    done = module(cluster, "nat-a", "nat_failover", wait_timeout=20)
    assert done["changed"] and lab.owner("a") == "nat-a"
    assert not module(cluster, "nat-a", "nat_failover", wait_timeout=10)["changed"]
    refused = module(cluster, "nat-a", "nat_failover", state="drained")
    assert refused["failed"] and "systemctl start nat-failover" in refused["msg"]
    for node in ("nat-a", "nat-b"):
        cluster.start(lab.host(node))
    cluster.settle()
