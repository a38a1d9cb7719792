# SPDX-License-Identifier: GPL-3.0-or-later
"""The real engines with the role's own configuration and guard, in two network namespaces: the proxy's node, and the world. Needs root."""

from __future__ import annotations

import importlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.integration.proxy import world
from tests.unit.modules.proxy_given import GIVEN

ROOT = Path(__file__).resolve().parents[3]
FILES, TEMPLATES = ROOT / "roles/proxy/files", ROOT / "roles/proxy/templates"
PROGRAMS = {"squid": ["/usr/sbin/squid", "--foreground", "-C", "-f"], "tinyproxy": ["/usr/bin/tinyproxy", "-d", "-c"]}
ENGINES = tuple(PROGRAMS)
START_S = 20.0


def sh(*argv: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **more)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done


@pytest.fixture(scope="session")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with planning(tmp_path_factory.mktemp("collections")) as made:
        yield made


@contextmanager
def planning(folder: Path) -> Iterator[Any]:
    """``planner(**changes)`` is the role's plan; ``planner.destinations`` the grammar, ``planner.clients`` the clients. The folder is empty."""
    link = folder / "ansible_collections/aws_ha/egress"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    base = "ansible_collections.aws_ha.egress.plugins."
    filters = importlib.import_module(base + "filter.proxy")

    class Planner:
        destinations = importlib.import_module(base + "plugin_utils.proxy_destinations")
        clients = importlib.import_module(base + "plugin_utils.proxy_client")

        def __call__(self, **changes: Any) -> dict[str, Any]:
            given = {
                **GIVEN,
                "sources": ["10.77.0.0/16", "2001:db8:0:100::/56"],
                "access_log": False,
                "own_networks": [],
                "own_addresses": [],
            }
            return filters.proxy_plan({**given, "health_destinations": ["health.ok.test:443"], **changes})

    try:
        yield Planner()
    finally:
        sys.path.remove(str(folder))


class Net:
    """Two namespaces. ``reached`` tells what connections have arrived where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node, self.outside = f"pxt{os.getpid()}n", f"pxt{os.getpid()}w"
        self.log = folder / "world.log"
        self.world: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        for name in (self.node, self.outside):
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
            sh(
                "ip",
                "netns",
                "exec",
                name,
                "sysctl",
                "-qw",
                "net.ipv6.conf.all.disable_ipv6=0",
                "net.ipv6.conf.default.accept_dad=0",
            )
        sh("ip", "-n", self.node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside)
        own = {self.node: (world.PROXY, world.PROXY6), self.outside: (world.ROUTER, world.ROUTER6)}
        for name, (four, six) in own.items():
            sh("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
            sh("ip", "-n", name, "link", "set", "eth0", "up")
            sh("ip", "-n", name, "address", "add", four + "/24", "dev", "eth0")
            sh("ip", "-n", name, "address", "add", six + "/64", "dev", "eth0", "nodad")
        for each in world.ADDRESSES:
            sh("ip", "-n", self.outside, "address", "add", each + ("/128" if ":" in each else "/32"), "dev", "lo")
        sh("ip", "-n", self.node, "route", "add", "default", "via", world.ROUTER)
        sh("ip", "-n", self.node, "-6", "route", "add", "default", "via", world.ROUTER6)
        etc = Path("/etc/netns") / self.node
        etc.mkdir(parents=True)
        (etc / "resolv.conf").write_text(f"nameserver {world.ROUTER}\n", encoding="ascii")
        argv = ["ip", "netns", "exec", self.outside, sys.executable, world.__file__]
        self.world = subprocess.Popen(argv, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        wait(lambda: b"ready" in self.log.read_bytes(), "the world")

    def down(self) -> None:
        if self.world:
            self.world.kill()
            self.world.wait()
        for name in (self.node, self.outside):
            pids = sh("ip", "netns", "pids", name, check=False).stdout.split()
            for pid in pids:
                os.kill(int(pid), 9)
            sh("ip", "netns", "delete", name, check=False)
        shutil.rmtree(Path("/etc/netns") / self.node, ignore_errors=True)

    def mark(self) -> int:
        return self.log.stat().st_size

    def reached(self, mark: int = 0) -> list[tuple[str, int]]:
        """Address and port of each connection that came from the node since the mark. The server may be in the middle of a line."""
        lines = self.log.read_bytes()[mark:].splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.startswith(b"[") and line.endswith(b"\n")]
        return [(here, port) for here, port, peer in rows if peer in (world.PROXY, world.PROXY6)]

    def inside(self, name: str, code: str, *arguments: str) -> str:
        """Run Python in a namespace."""
        return sh("ip", "netns", "exec", name, sys.executable, "-c", code, *arguments).stdout

    def guard(self, plan: dict[str, Any], verb: str) -> None:
        settings = self.folder / "proxy.json"
        settings.write_text(json.dumps(plan["node"]), encoding="ascii")
        code = f"import sys; sys.path.insert(0, {str(FILES)!r}); import proxy_guard as g; g.SETTINGS = {str(settings)!r}; sys.exit(g.main([{verb!r}]))"
        self.inside(self.node, code)


def listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether a socket of the process's namespace listens on the port. A connection of an engine before it may still stand there, in another state."""
    rows = [line.split() for line in Path(f"/proc/{process.pid}/net/tcp6").read_text(encoding="ascii").splitlines()]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def wait(condition: Any, what: str) -> None:
    end = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come up"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    missing = [argv[0] for argv in PROGRAMS.values() if not os.path.exists(argv[0])]
    assert not missing, f"apt-get install squid tinyproxy: {missing} are not here"
    with running_net() as made:
        yield made


@contextmanager
def running_net() -> Iterator[Net]:
    folder = Path(tempfile.mkdtemp(prefix="proxy-test-"))
    folder.chmod(0o755)
    made = Net(folder)
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


def bare(text: str) -> str:
    """A configuration without the walls that the engine has itself: neither ports nor places, the clients' networks alone."""
    walls = re.compile(r"http_access deny (private|manager|trace|!web_ports|CONNECT)|acl private |ConnectPort ")
    kept = [line for line in text.splitlines(keepends=True) if not walls.match(line)]
    assert len(kept) < len(text.splitlines()), "no wall is there"
    return "".join(kept)


def render(plan: dict[str, Any], folder: Path, change: Callable[[str], str] = str) -> Path:
    """The engine's file as the role writes it, but for the places of its process id and list, and for a change."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((TEMPLATES / f"{plan['engine']}.conf.j2").read_text(encoding="utf-8"))
    listed = folder / "filter"
    listed.write_text("\n".join(plan["tinyproxy"]["filter"]) + "\n", encoding="ascii")
    text = template.render(__proxy=plan, __proxy_filter=str(listed), ansible_managed="test", inventory_hostname="nat-a")
    config = folder / f"{plan['engine']}.conf"
    config.write_text(change(text.replace("/run/squid/", f"{folder}/run/")), encoding="ascii")
    return config


@contextmanager
def running(net: Net, plan: dict[str, Any], change: Callable[[str], str] = str) -> Iterator[subprocess.Popen[bytes]]:
    """The process of the engine, as its own user; with the guard where the plan has one, and a change of its file."""
    user = pwd.getpwnam(plan["user"])
    run = net.folder / "run"
    run.mkdir(exist_ok=True)
    os.chown(run, user.pw_uid, user.pw_gid)
    (run / "aws-ha-egress.pid").unlink(missing_ok=True)
    config = render(plan, net.folder, change)
    net.guard(plan, "apply" if plan["guard"] else "remove")
    argv = [
        "ip",
        "netns",
        "exec",
        net.node,
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--",
    ]
    with (net.folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, *PROGRAMS[plan["engine"]], str(config)], stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait(lambda: process.poll() is None and listens(process, plan["port"]), plan["engine"])
        yield process
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        net.guard(plan, "remove")


# Runs in the world's namespace: requests in, (status, body) out, all in one process, eight at a time: the guard costs a refusal a second.
ASK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def one(asked):
    source, request = asked
    try:
        with socket.create_connection((sys.argv[2], 3128), timeout=30, source_address=(source, 0)) as s:
            s.sendall(request.encode("latin-1"))
            answer = b""
            while len(answer) < 65536:
                part = s.recv(4096)
                if not part:
                    break
                answer += part
                if request.startswith("CONNECT") and b"\\r\\n\\r\\n" in answer:
                    if answer.split()[1:2] == [b"200"] and b"this is" not in answer:
                        s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
                    else:
                        break
            words = answer.split(None, 2)
            return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0, answer.decode("latin-1")[-200:]
    except OSError as error:
        return 0, str(error)
with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(one, json.load(open(sys.argv[1]))))))
"""


def ask(net: Net, requests: list[tuple[str, str]]) -> list[tuple[int, str]]:
    """Status and end of the answer to each (source address, request)."""
    file = net.folder / "requests.json"
    file.write_text(json.dumps(requests), encoding="utf-8")
    return [tuple(each) for each in json.loads(net.inside(net.outside, ASK, str(file), world.PROXY))]


def fetch(url: str, **headers: str) -> str:
    """A plain request for a URL."""
    host = url.split("://")[-1].split("/")[0].rpartition("@")[2]
    lines = {"Host": host, "Connection": "close", **headers}
    return f"GET {url} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"


def connect(where: str) -> str:
    """A request for a tunnel."""
    return f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n"
