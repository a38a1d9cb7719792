# SPDX-License-Identifier: GPL-3.0-or-later
"""A proof runs under the conditions of the service: its user, sandbox, environment and drop-ins, and nothing of its life."""

from __future__ import annotations

import jinja2
import pytest

from .conftest import ROOT

TEMPLATES = ROOT / "roles" / "nat_instance" / "templates"


@pytest.fixture
def proofs(load):
    return load("module_utils._as_service")


def rendered(name):
    """A template of the role for a NAT node."""
    loader = jinja2.FileSystemLoader(str(TEMPLATES))
    words = {
        "ansible_managed": "managed",
        "__nat_instance": {"witness": False},
        "__nat_instance_user": "nat-failover",
        "__nat_instance_command": "/usr/local/bin/nat-failover",
        "__nat_instance_socket": "/run/nat-failover/control.sock",
        "__nat_instance_plan": {"stop_timeout_s": 25},
    }
    environment = jinja2.Environment(loader=loader, trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    return environment.get_template(name).render(words)


def test_the_conditions_of_the_proof_are_those_of_the_unit(proofs):
    """A line of the unit is either part of the proof or named as part of the service's life."""
    of_the_unit = proofs.conditions([rendered("nat-failover.service.j2")])
    assert of_the_unit == proofs.conditions(["[Service]\n" + rendered("conditions.j2")])
    assert {"User=nat-failover", "ProtectHome=yes", "SystemCallFilter=~@privileged @resources"} <= set(of_the_unit)


def test_the_end_of_a_proof_does_not_remove_the_folder_of_the_running_service(proofs):
    lines = proofs.conditions([rendered("nat-failover.service.j2")])
    assert not [line for line in lines if line.startswith(("Runtime", "State", "Exec", "Type=", "Restart", "Watchdog"))]


def test_drop_ins_of_the_operator_come_after_and_a_later_folder_wins(proofs, tmp_path):
    for folder, file, text in (
        ("lib", "10-proxy.conf", "[Service]\nEnvironment=A=lib\n"),
        ("etc", "10-proxy.conf", "[Service]\nEnvironment=A=etc\n"),
        (
            "etc",
            "20-more.conf",
            "# note\n[Unit]\nAfter=x.service\n[Service]\n; c\nEnvironmentFile=-/etc/x \\\n  \nRestart=no\n",
        ),
        ("etc", "ignored.txt", "[Service]\nUser=root\n"),
    ):
        where = tmp_path / folder / "x.service.d"
        where.mkdir(parents=True, exist_ok=True)
        (where / file).write_text(text)
    folders = [str(tmp_path / name) for name in ("lib", "run", "etc")]
    assert proofs.conditions(["[Service]\nUser=u\n", *proofs.drop_ins("x.service", folders)]) == [
        "User=u",
        "Environment=A=etc",
        "EnvironmentFile=-/etc/x",
    ]


def test_before_the_user_exists_somebody_without_rights_stands_in(proofs):
    lines = ["User=nat-failover", "Group=nat-failover", "ProtectHome=yes"]
    assert proofs.known_user(lines, lambda name: True) == lines
    assert proofs.known_user(lines, lambda name: False) == ["ProtectHome=yes", "User=nobody"]


def test_systemd_finds_nothing_to_expand_in_a_command(proofs):
    text = proofs.unit("x.service", ["/bin/p y", "-c", "print('%d $HOME \"q\" \\n')"], ["User=u"], "/run/proof", 30)
    [line] = [each for each in text.splitlines() if each.startswith("ExecStart=")]
    assert line == 'ExecStart="/bin/p y" "-c" "print(\'%%d $$HOME \\"q\\" \\\\n\')"'
    assert text.splitlines()[-1] == "User=u" and "Type=oneshot" in text and "file:/run/proof/out" in text


class Systemd:
    """Runs what a unit asks for, at once."""

    def __init__(self, booted, status="0", result="success"):
        self.booted, self.status, self.result, self.units = booted, status, result, []

    def run_command(self, argv):
        if argv[1] == "start":
            [unit] = self.booted.glob("*.service")
            self.units.append(unit.read_text())
            folder = self.units[-1].split("StandardOutput=file:")[1].split("/out")[0]
            (self.booted / folder / "out").write_text("said\n")
        return 0, f"ExecMainStatus={self.status}\nResult={self.result}\n" if argv[1] == "show" else "", ""


@pytest.mark.parametrize(
    ("status", "result", "code"),
    [("0", "success", 0), ("2", "exit-code", 2), ("203", "exit-code", 203), ("0", "timeout", 124), ("0", "signal", 1)],
)
def test_it_runs_in_a_unit_that_is_gone_afterwards(proofs, tmp_path, monkeypatch, status, result, code):
    monkeypatch.setattr(proofs, "BOOTED", str(tmp_path))
    systemd = Systemd(tmp_path, status, result)
    outcome = proofs.run(
        systemd, ["/bin/no-such-command", "{x}"], "x.service", "[Service]\nUser=root\n", {"{x}": b"secret"}
    )
    assert (outcome.code, outcome.out) == (code, "said\n")
    assert "User=root" in systemd.units[0] and "secret" not in systemd.units[0]
    path = systemd.units[0].split('"/bin/no-such-command" "')[1].split('"')[0]
    assert not list(tmp_path.glob("*.service"))
    assert path.startswith("/run/nat-failover-proof-") and not (tmp_path / path).exists()


def test_without_systemd_the_command_runs_as_it_is(proofs, tmp_path, monkeypatch):
    monkeypatch.setattr(proofs, "BOOTED", str(tmp_path / "absent"))
    seen = []

    class Module:
        @staticmethod
        def run_command(argv):
            with open(argv[1], encoding="ascii") as stream:
                seen.append((argv[0], stream.read()))
            return 3, "out", "err"

    outcome = proofs.run(Module(), ["/bin/no-such-command", "{x}"], "x.service", "", {"{x}": b"content"})
    assert seen == [("/bin/no-such-command", "content")] and outcome == (3, "out", "err")
