# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's name server, its web server with HTTPS, and a name that rebinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.fabric.names import METADATA, WEB, WEB_NAME
from lab.testing import RunningLab, forward, running_lab
from tests.integration.balanced import Balanced, until

ASK = """
import socket, sys
try: print(*sorted({found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80)}))
except OSError as error: print(error.errno == socket.EAI_NONAME and "no such name" or error)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(on_boot=forward, source_dest_check=False) as running:
        yield running


def ask(lab: RunningLab, host: str, name: str) -> str:
    return str(lab.exec(host, ["python3", "-S", "-c", ASK, name]).stdout.strip())


def test_a_host_resolves_what_the_lab_has_and_nothing_else(lab: RunningLab) -> None:
    found = {name: ask(lab, "client-a", name) for name in (WEB_NAME, "sts.eu-west-1.amazonaws.com", "example.org")}
    assert found == {WEB_NAME: WEB, "sts.eu-west-1.amazonaws.com": WEB, "example.org": "no such name"}


def test_a_name_that_rebinds_becomes_private(lab: RunningLab) -> None:
    """The first answer is what a proxy checks, the second is where it would connect."""
    assert [ask(lab, "nat-a", "one.rebind.lab.test") for _number in range(3)] == [WEB, METADATA, WEB]
    assert ask(lab, "nat-a", "two.rebind.lab.test") == WEB


def test_the_internet_has_https_by_the_authority_of_the_lab(lab: RunningLab) -> None:
    def fetch(*words: str) -> tuple[int, str]:
        done = lab.exec("client-a", ["curl", "--silent", "--max-time", "2", *words], check=False)
        return done.returncode, done.stdout.strip()

    assert fetch("--cacert", str(lab.ca), f"https://{WEB_NAME}/") == (0, "203.0.113.10")
    assert fetch(f"https://{WEB_NAME}/") == (60, ""), "nobody else trusts that authority"
    assert fetch("--cacert", str(lab.ca), f"https://{WEB}/") == (60, ""), "the certificate is for names"
    assert fetch(f"http://{WEB_NAME}/") == (0, "203.0.113.10")


def test_a_balancer_has_a_name_with_the_addresses_of_zones_that_are_healthy(lab: RunningLab) -> None:
    """Network Load Balancer User Guide, "Health checks": without healthy targets in a zone, its address is taken out of the name."""
    balanced = Balanced(lab)
    balanced.quick()
    servers = {node: balanced.serve(node) for node in balanced.nodes}
    balanced.register()
    both = " ".join(sorted(balanced.addresses.values()))
    balanced.wait(nat_a="healthy", nat_b="healthy")
    until(lambda: ask(lab, "client-b", balanced.dns_name) == both)
    servers["nat-a"].kill()
    until(lambda: ask(lab, "client-b", balanced.dns_name) == balanced.addresses["b"])
    balanced.remove()
    until(lambda: ask(lab, "client-b", balanced.dns_name) == "no such name")
    for server in servers.values():
        server.kill()
        server.communicate()
