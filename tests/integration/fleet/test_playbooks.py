# SPDX-License-Identifier: GPL-3.0-or-later
"""site, switchover, rotate_key and maintenance on machines: check mode predicts, a second run changes nothing, a refusal leaves all as it was."""

from __future__ import annotations

from tests.integration.fleet.conftest import KEY, Fleet

CONFIG = "/etc/nat-failover/config.json"
SECOND_KEY = "the-second-key-of-the-lab-9876543210"


def test_site_changes_nothing_the_second_time_and_limit_leaves_the_peer_alone(fleet: Fleet) -> None:
    """A second run over both nodes is at the end of rotate_key below, and of other files."""
    before = {node: fleet.node(node, "cat", CONFIG) for node in ("nat-a", "nat-b")}
    limited = fleet.run("site", "--limit", "nat-a", "--diff", nat_site_serial=1)
    assert limited.changed == 0 and list(limited.stats) == ["nat-a"]
    assert {node: fleet.node(node, "cat", CONFIG) for node in ("nat-a", "nat-b")} == before
    assert '"name": "nat-b"' in before["nat-a"]


def test_switchover_and_back(fleet: Fleet) -> None:
    writes = fleet.writes()
    predicted = fleet.run("switchover", "--check", nat_switchover_from="nat-a")
    assert predicted.changed == 1 and fleet.writes() == writes
    with fleet.lab.stream("client-b") as other:
        other.wait_for_answer()
        assert fleet.run("switchover", nat_switchover_from="nat-a").changed == 1
        assert fleet.lab.owner("a") == "nat-b" and fleet.seen("client-a") == "203.0.113.11"
        assert fleet.run("switchover", nat_switchover_from="nat-a").changed == 0
        refusal = fleet.refused("switchover", nat_switchover_from="nat-b", nat_switchover_wait_s=4)
        assert "nat-b is not drained:" in refusal and fleet.lab.owner("b") == "nat-b"
        assert fleet.status("nat-b")["state"] == "active", "a drain that nobody takes is undone"
        assert fleet.run("switchover", nat_switchover_from="nat-a", nat_switchover_back=True).changed == 1
        assert fleet.lab.owner("a") == "nat-a" and fleet.seen("client-a") == "203.0.113.10"
        assert fleet.run("switchover", nat_switchover_from="nat-a", nat_switchover_back=True).changed == 0
    assert other.result().packets_lost == 0, "the other zone is not concerned"


def test_rotate_key_without_a_missed_heartbeat(fleet: Fleet) -> None:
    def keys() -> set[str]:
        return {fleet.node(node, "cat", "/etc/nat-failover/heartbeat.key") for node in ("nat-a", "nat-b")}

    def rejected() -> list[int]:
        return [fleet.status(node)["counters"].get("bad_mac", 0) for node in ("nat-a", "nat-b")]

    assert keys() == {KEY + "\n"}
    writes, refused = fleet.writes(), rejected()
    fleet.write_inventory(nat_instance_heartbeat_key=SECOND_KEY)
    assert "would not know the new key" in fleet.refused("rotate_key", "--limit", "nat-a")
    predicted = fleet.run("rotate_key", "--check")
    assert predicted.changed > 0 and keys() == {KEY + "\n"}
    assert fleet.run("rotate_key").changed > 0
    assert keys() == {SECOND_KEY + "\n"}
    assert fleet.run("rotate_key").changed == 0
    assert fleet.run("site").changed == 0, "site agrees with what rotate_key has left"
    assert rejected() == refused and fleet.writes() == writes


def test_maintenance_stops_at_the_first_node_that_does_badly_and_goes_on_from_there(fleet: Fleet) -> None:
    writes, boots = fleet.writes(), fleet.lab.host("nat-a").boots
    assert fleet.run("maintenance", "--check", nat_maintenance_reboot=True).changed > 0
    assert fleet.writes() == writes and fleet.lab.host("nat-a").boots == boots
    tasks = fleet.playbooks.folder / "tasks.yml"
    asked = {"nat_maintenance_tasks": str(tasks), "nat_maintenance_wait_s": 30}
    tasks.write_text("- name: Go wrong\n  ansible.builtin.command: /bin/false\n", encoding="ascii")
    fleet.refused("maintenance", **asked)
    assert fleet.status("nat-a")["state"] == "drained" and fleet.status("nat-b")["state"] == "active"
    assert fleet.lab.owner("a") == fleet.lab.owner("b") == "nat-b"
    tasks.write_text(
        "- name: Ask the nodes at work\n  ansible.builtin.command: nat-failover status --json\n  register: seen\n  failed_when: seen.rc > 2\n"
        "- name: Keep it\n  ansible.builtin.copy: {content: '{{ (seen.stdout | from_json).state }}', dest: /var/tmp/state}\n",
        encoding="ascii",
    )
    fleet.run("maintenance", **asked)
    assert {fleet.node(node, "cat", "/var/tmp/state") for node in ("nat-a", "nat-b")} == {"drained"}
    assert {fleet.status(node)["state"] for node in ("nat-a", "nat-b")} == {"active"}
    assert (fleet.lab.owner("a"), fleet.lab.owner("b")) == ("nat-a", "nat-b")
    fenced = [write for write in fleet.writes()[len(writes) :] if not write.startswith("ReplaceRoute")]
    assert fenced == []
