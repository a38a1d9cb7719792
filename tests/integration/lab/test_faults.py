# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts die, stand still and come back; links lose packets one way, both ways or now and then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.api.calls import Call
from lab.errors import LabError
from lab.fabric import netns
from lab.fabric.names import API
from lab.testing import RunningLab

OTHER = {"nat-a": "10.0.1.10", "nat-b": "10.0.0.10"}


def wait_for_state(lab: RunningLab, node: str, state: str) -> None:
    end = time.monotonic() + 10
    while lab.instance(node).state != state:
        assert time.monotonic() < end, lab.instance(node).state
        time.sleep(0.02)


def test_a_killed_host_is_dead_but_ec2_does_not_know(lab: RunningLab) -> None:
    service = lab.host("nat-a").popen(["sleep", "60"])
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        time.sleep(0.3)
        before = time.monotonic()
        when = lab.fault("kill", "nat-a")
        stream.wait_for_silence()
    assert service.wait(timeout=2) == -9
    assert stream.result().outage_ms(when) > 150
    assert stream.result().outage_ms(0, before - 0.05) < 100
    assert not lab.ping("nat-b", "10.0.0.10", 0.3)
    assert lab.instance("nat-a").state == "running"
    with pytest.raises(LabError, match="killed"):
        lab.exec("nat-a", ["true"])


def test_stop_and_start_bring_a_killed_host_back_as_after_a_boot(lab: RunningLab) -> None:
    ec2, node = lab.client(), lab.ids.zones["a"].instance_id
    lab.fault("kill", "nat-a")
    ec2.stop_instances(InstanceIds=[node])
    wait_for_state(lab, "nat-a", "stopped")
    assert lab.host("nat-a").state == "off"
    assert not lab.ping("nat-b", "10.0.0.10", 0.3)
    ec2.start_instances(InstanceIds=[node])
    wait_for_state(lab, "nat-a", "running")
    assert lab.ping("nat-b", "10.0.0.10")
    assert lab.connect("client-a", "198.51.100.10", 443), "the boot hook ran again and the route is there"
    assert lab.host("nat-a").boots == 2


def test_a_reboot_forgets_kernel_state(lab: RunningLab) -> None:
    lab.host("nat-b").on_boot = None
    assert "MASQUERADE" in lab.exec("nat-b", ["iptables-save", "-t", "nat"]).stdout
    lab.client().reboot_instances(InstanceIds=[lab.ids.zones["b"].instance_id])
    end = time.monotonic() + 5
    while lab.host("nat-b").boots < 2 or lab.host("nat-b").state != "on":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "MASQUERADE" not in lab.exec("nat-b", ["iptables-save", "-t", "nat"]).stdout
    assert lab.exec("nat-b", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout.strip() == "0"


def test_a_clean_stop_lets_services_end_by_themselves(lab: RunningLab) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    service = lab.host("nat-a").popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert service.stdout.readline() == "up\n"
    lab.host("nat-a").power_off()
    assert service.communicate(timeout=5)[0] == "bye\n"


def test_a_frozen_host_stands_still_and_goes_on(lab: RunningLab) -> None:
    script = "while :; do echo tick; sleep 0.01; done"
    service = lab.host("nat-a").popen(["sh", "-c", script], stdout=subprocess.PIPE)
    lab.fault("freeze", "nat-a")
    assert not lab.ping("nat-b", "10.0.0.10", 0.3), "a frozen kernel answers nothing"
    service.stdout.read1(1 << 20)
    lab.fault("thaw", "nat-a")
    assert service.stdout.read(5) == b"tick\n"
    assert lab.ping("nat-b", "10.0.0.10")
    assert lab.connect("client-a", "198.51.100.10", 443)


def test_a_host_is_frozen_while_a_process_waits_for_its_child(lab: RunningLab, tmp_path: Path) -> None:
    """The parent of a vfork waits in the kernel until its child executes a program. This child waits before that, for a writer."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = (
        "import os, sys; read = [(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)];"
        "print('up', flush=True);"
        "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}, file_actions=read), 0); print('done', flush=True)"
    )
    argv = [sys.executable, "-I", "-c", code, str(fifo)]
    service = lab.host("nat-a").popen(argv, stdout=subprocess.PIPE, text=True)
    assert service.stdout.readline() == "up\n"
    end = time.monotonic() + 5
    while netns.state(service.pid) != "D":
        assert time.monotonic() < end, netns.state(service.pid)
        time.sleep(0.01)
    lab.fault("freeze", "nat-a")
    assert not lab.ping("nat-b", "10.0.0.10", 0.3)
    lab.fault("thaw", "nat-a")
    fifo.write_text("")
    assert service.communicate(timeout=5)[0] == "done\n"


def test_heal_ends_every_fault(lab: RunningLab) -> None:
    lab.fault("kill", "nat-a")
    lab.fault("freeze", "nat-b")
    lab.fault("cut", "client-b", peer="nat-b")
    lab.fault("api", action="ReplaceRoute", error="UnauthorizedOperation")
    lab.heal()
    assert lab.ping("nat-a", OTHER["nat-a"])
    assert lab.connect("client-b", "198.51.100.10", 443)
    assert not lab.api.faults.describe()


def test_a_cut_link_is_cut_and_no_other(lab: RunningLab) -> None:
    wanted = {
        "nat-b": {"internet", "api"},
        "internet": {"nat-b", "api"},
        "api": {"nat-b", "internet"},
        "uplink": {"nat-b"},
        "all": set(),
    }
    reached = {}
    for peer in wanted:
        lab.fault("cut", "nat-a", peer=peer)
        seen = {
            "nat-b": lab.ping("nat-a", OTHER["nat-a"], 0.3),
            "internet": lab.connect("nat-a", "198.51.100.11", 443, 0.3),
            "api": lab.connect("nat-a", API, 80, 0.3),
        }
        reached[peer] = {place for place, there in seen.items() if there}
        lab.heal()
    assert reached == wanted
    assert lab.connect("nat-a", API, 80, 0.3)


def test_a_link_cut_one_way_carries_the_other(lab: RunningLab) -> None:
    lab.fault("cut", "nat-a", peer="nat-b", direction="in")
    heard = "import socket;s=socket.socket(2,2);s.bind(('',9));s.settimeout(0.5);print(s.recv(9).decode())"
    said = "import socket,sys,time;s=socket.socket(2,2);[(s.sendto(b'x',(sys.argv[1],9)),time.sleep(.05)) for _ in range(9)]"
    for speaker, listener, arrives in (("nat-a", "nat-b", True), ("nat-b", "nat-a", False)):
        ear = lab.host(listener).popen(
            ["python3", "-S", "-c", heard], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        time.sleep(0.15)
        lab.exec(speaker, ["python3", "-S", "-c", said, OTHER[speaker]])
        assert (ear.communicate(timeout=5)[0] == "x\n") is arrives


def test_some_packets_are_lost(lab: RunningLab) -> None:
    lab.fault("lose", "nat-a", peer="client-a", percent=30, direction="in")
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        time.sleep(1.5)
    result = stream.result()
    assert 0.12 < result.packets_lost / len(result.sent) < 0.5


def test_a_fault_that_cannot_be_meant_is_refused(lab: RunningLab) -> None:
    nonsense: list[tuple[str, str, dict[str, object]]] = [
        ("break", "nat-a", {}),
        ("cut", "nat-z", {}),
        ("cut", "nat-a", {"peer": "moon"}),
        ("cut", "nat-a", {"peer": "nat-a"}),
        ("cut", "nat-a", {"direction": "up"}),
        ("lose", "nat-a", {"percent": 0}),
        ("lose", "nat-a", {}),
        ("thaw", "nat-a", {}),
        ("kill", "nat-a", {"percent": 50}),
        ("cut", "nat-a", {"speed": 1}),
    ]
    for kind, host, options in nonsense:
        with pytest.raises(LabError):
            lab.fault(kind, host, **options)
    assert lab.network is not None and lab.network.faults == []


def test_the_call_log_and_a_stream_share_a_clock(lab: RunningLab) -> None:
    with lab.stream("client-a", kind="tcp") as stream:
        stream.wait_for_answer()
        lab.client("ec2").describe_instances()
        stream.wait_for_answer()
    result, (call,) = stream.result(), lab.calls()
    assert isinstance(call, Call)
    assert min(result.sent.values()) < call.time < max(result.received.values())
    assert result.packets_lost == 0
