# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover_host_info: what is there, what a running service does not know yet, and how the kernel is set."""

from __future__ import annotations

import os
import sys

import boto3
import pytest


@pytest.fixture
def asked(tmp_path):
    """A host on which everything is installed, and whose service has read it all."""
    library = tmp_path / "nat_failover"
    library.mkdir()
    (library / "policy").mkdir()
    for name in ("command", "config.json", "key", "nat_failover/cli.py", "nat_failover/policy/decide.py"):
        (tmp_path / name).write_text('{"cluster": "prod"}' if name == "config.json" else "x\n")
        os.utime(tmp_path / name, (1000, 1000))
    (tmp_path / "control.sock").touch()
    return {
        "installed": [str(tmp_path / "command"), str(tmp_path / "config.json")],
        "config": str(tmp_path / "config.json"),
        "socket": str(tmp_path / "control.sock"),
        "known": [str(library), str(tmp_path / "config.json"), str(tmp_path / "key")],
        "user": "root",
    }


def test_what_it_needs_is_said(run):
    assert "no_such_option" in run("nat_failover_host_info", no_such_option=1)["msg"]


def test_nothing_is_looked_at_that_nobody_asks_for(run):
    result = run("nat_failover_host_info")
    assert not result["pristine"] and not any(
        result[name] for name in ("unknown", "config", "user", "sysctls", "python", "packages")
    )


@pytest.mark.parametrize("check", [False, True])
def test_a_host_on_which_all_is_well(run, asked, check):
    result = run("nat_failover_host_info", check=check, **asked)
    assert not result["changed"] and not result["pristine"] and result["unknown"] == []
    assert result["config"] == '{"cluster": "prod"}'
    assert result["memory_kib"] > 10_000
    assert result["user"]["home"] == "/root" and result["user"]["group"] == "root"


def test_a_pristine_host(run, asked, tmp_path):
    for name in ("config.json", "control.sock"):
        (tmp_path / name).unlink()
    result = run("nat_failover_host_info", **{**asked, "user": "nobody-has-this-name"})
    assert result["pristine"] and result["config"] == "" and result["user"] == {} and result["unknown"] == []


@pytest.mark.parametrize("name", ["config.json", "key", "nat_failover/cli.py", "nat_failover/policy/decide.py"])
def test_what_is_newer_than_the_socket_is_not_known_to_the_service(run, asked, tmp_path, name):
    later = os.stat(tmp_path / "control.sock").st_mtime + 10
    os.utime(tmp_path / name, (later, later))
    (tmp_path / "nat_failover" / "policy" / "decide.pyc").touch()
    os.utime(tmp_path / "nat_failover" / "policy" / "decide.pyc", (later, later))
    assert run("nat_failover_host_info", **asked)["unknown"] == [str(tmp_path / name)]


def test_a_service_that_does_not_run_knows_all_when_it_starts(run, asked, tmp_path):
    (tmp_path / "control.sock").unlink()
    assert run("nat_failover_host_info", **asked)["unknown"] == []


@pytest.mark.parametrize(
    ("environments", "found"),
    [
        (["SUDO_USER=admin", "", "HOME=/\0SSH_CONNECTION=192.0.2.7 40000 10.0.0.10 22"], ("192.0.2.7", 22)),
        (["SSH_CONNECTION=fe80::1%ens5 40000 fe80::2%ens5 2222"], ("fe80::1", 2222)),
        (["HOME=/", None], None),  # a console, SSM, a process of another user
        (["SSH_CONNECTION=", "SSH_CONNECTION=nonsense"], None),
    ],
)
def test_the_ssh_connection_above_a_process(load, tmp_path, environments, found):
    for pid, environment in enumerate(environments, 100):
        (tmp_path / str(pid)).mkdir()
        parent = pid + 1 if pid - 99 < len(environments) else 1
        (tmp_path / str(pid) / "status").write_text(f"Name:\tsudo\nPPid:\t{parent}\n")
        if environment is not None:
            (tmp_path / str(pid) / "environ").write_text(environment + "\0")
    connection = load("modules.nat_failover_host_info").ssh_connection(100, str(tmp_path))
    assert connection == ({"address": found[0], "port": found[1]} if found else {})


def test_users_that_are_needed_and_missing(run, asked):
    assert run("nat_failover_host_info", **asked)["missing_users"] == []
    found = run("nat_failover_host_info", **asked, needed_users=["root", "nobody-has-this-name"])
    assert found["missing_users"] == ["nobody-has-this-name"]


def test_kernel_settings_that_there_are(run, asked):
    found = run("nat_failover_host_info", **asked, sysctls=["net/ipv4/ip_forward", "net/none/such"])["sysctls"]
    assert list(found) == ["net/ipv4/ip_forward"] and found["net/ipv4/ip_forward"] in ("0", "1")


def test_versions_and_packages_in_the_words_of_who_was_asked(run, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho 3.9\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    found = run("nat_failover_host_info", python=sys.executable, package_query=["echo", "installed one"])
    assert found["python"] == [".".join(map(str, sys.version_info[:2])), boto3.__version__]
    assert found["packages"] == ["installed one"]
    assert run("nat_failover_host_info", python=str(tmp_path / "python"))["python"] == ["3.9"]
    found = run("nat_failover_host_info", python=str(tmp_path / "none"), package_query=["no-such-command"])
    assert found["python"] == [] and found["packages"] == []


def test_an_interpreter_that_the_service_cannot_use_is_told_apart(run, load, monkeypatch):
    """A virtual environment below /home works for root, and not for a service with ProtectHome."""
    proofs = load("module_utils._as_service")
    asked = {"python": sys.executable, "unit_content": "[Service]\nUser=root\n"}
    found = run("nat_failover_host_info", **asked)
    assert found["python"] == ["{}.{}".format(*sys.version_info), boto3.__version__] and found["python_problem"] == ""
    for outcome, said in (
        (proofs.Outcome(203, "", ""), "cannot execute it"),
        (proofs.Outcome(1, "3.11\n", ""), "finds less"),
    ):
        monkeypatch.setattr(proofs, "run", lambda *_how, outcome=outcome: outcome)
        assert said in run("nat_failover_host_info", **asked)["python_problem"]
    assert run("nat_failover_host_info", **{**asked, "python": "/nowhere/python"})["python_problem"] == ""


def test_files_that_a_node_may_have(run, tmp_path):
    (tmp_path / "there.service").write_text("[Service]\n")
    paths = [str(tmp_path / "there.service"), str(tmp_path / "missing.service")]
    assert run("nat_failover_host_info", optional=paths)["optional"] == paths[:1]


def test_groups_of_a_user_are_those_that_are_wanted(run, monkeypatch):
    import grp

    wanted = [group.gr_name for group in grp.getgrall() if group.gr_mem][:1]
    user = grp.getgrnam(wanted[0]).gr_mem[0] if wanted else "root"
    result = run("nat_failover_host_info", user=user, user_groups=[*wanted, "no-such-group-here"])
    assert result["user"]["groups"] == wanted


def test_programs_that_not_every_user_can_run(run, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for path, mode in ((tmp_path / "own", 0o744), (closed / "hidden", 0o755)):
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    paths = ["/bin/true", str(tmp_path / "own"), str(closed / "hidden"), str(tmp_path / "gone"), str(tmp_path)]
    assert run("nat_failover_host_info", executables=paths)["executable_problems"] == {
        paths[1]: "is not executable for every user (chmod 0755)",
        paths[2]: f"lies in {closed}, which not every user can enter",
        paths[3]: "is not there",
        paths[4]: "is no file",
    }


def test_flow_tables_are_found_in_the_kernel_or_among_its_modules(load, tmp_path, run, asked):
    has = load("modules.nat_failover_host_info").has_flowtable
    modules = tmp_path / "lib/modules/6.1.0"
    modules.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    assert has("6.1.0", str(tmp_path)) is False
    (modules / "modules.dep").write_text("kernel/net/netfilter/nft_ct.ko: kernel/net/netfilter/nf_tables.ko\n")
    assert has("6.1.0", str(tmp_path)) is False
    (modules / "modules.dep").write_text("kernel/net/netfilter/nft_flow_offload.ko.xz: kernel/net/x.ko\n")
    assert has("6.1.0", str(tmp_path)) is True and has("6.2.0", str(tmp_path)) is False
    (tmp_path / "proc/kallsyms").write_text("0 t nft_flow_offload_eval\t[nft_flow_offload]\n")
    assert has("6.2.0", str(tmp_path)) is True
    assert run("nat_failover_host_info", **asked)["flowtable"] is False, "nothing was asked"


def test_the_kernel_and_its_cpus(run, asked):
    found = run("nat_failover_host_info", **asked)
    assert found["kernel"] == os.uname().release and found["online_cpus"].startswith("0")


def test_files_of_sysctl_d_are_read_in_the_order_of_systemd(load, tmp_path):
    """By their names, whatever their folders; a name in an earlier folder hides the later one (sysctl.d(5))."""
    files = {
        "etc/sysctl.d/90-ours.conf": "# a.b = 9\na.b = 1\n-a/b=2\n",
        "usr/lib/sysctl.d/50-theirs.conf": "a.b=0\nc.d=7\n",
        "run/sysctl.d/50-theirs.conf": " a.b =  3\n;a.b=8\n",
        "etc/sysctl.d/99-readme": "a.b=5\n",
        "etc/sysctl.d/95-dotted.conf": "net/ipv4/conf/eth0.7/x = 4\nnet.ipv4.conf.eth0/8.x = 5\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    names = ["a/b", "net/ipv4/conf/eth0.7/x", "net/ipv4/conf/eth0.8/x", "e"]
    found = load("modules.nat_failover_host_info").settings_of_files(names, str(tmp_path))
    ours, dotted = "/etc/sysctl.d/90-ours.conf", "/etc/sysctl.d/95-dotted.conf"
    assert found == {
        "a/b": [["/run/sysctl.d/50-theirs.conf", "3"], [ours, "1"], [ours, "2"]],
        "net/ipv4/conf/eth0.7/x": [[dotted, "4"]],
        "net/ipv4/conf/eth0.8/x": [[dotted, "5"]],
        "e": [],
    }
    assert load("modules.nat_failover_host_info").settings_of_files([], "/nowhere") == {}
