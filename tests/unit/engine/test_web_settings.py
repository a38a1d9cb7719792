# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the metrics are served, and who may read them: nothing is open that nobody has asked for."""

from __future__ import annotations

import pytest

from nat_failover.errors import ConfigError
from nat_failover.web import settings


def test_by_default_only_this_machine_reads():
    made = settings.parse()
    assert (made.listen, made.port) == ("127.0.0.1", 9743)
    assert made.allows("127.0.0.1")
    assert made.allows("::1")
    assert not made.allows("10.0.0.5")


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "203.0.113.10", "10.0.0.10", "2001:db8::10"])
def test_an_address_that_others_reach_needs_a_list_of_readers(listen):
    with pytest.raises(ConfigError, match="which of them may read") as refusal:
        settings.parse(listen, prefix="--")
    assert refusal.value.key == "--listen"
    assert "\n" not in str(refusal.value)
    assert settings.parse(listen, allow=["10.0.0.0/16"]).allow


@pytest.mark.parametrize(
    ("client", "allowed"),
    [
        ("10.0.3.7", True),
        ("10.1.0.1", False),
        ("::ffff:10.0.3.7", True),
        ("::ffff:203.0.113.9", False),
        ("2001:db8::5", True),
        ("fe80::1%eth0", False),
        ("127.0.0.2", True),
        ("", False),
        ("nonsense", False),
    ],
)
def test_readers_are_those_of_the_list(client, allowed):
    made = settings.parse("0.0.0.0", allow=["10.0.0.0/16", "2001:db8::/64"])
    assert made.allows(client) is allowed


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"listen": "localhost"}, "listen"),
        ({"listen": "10.0.0.10/24"}, "listen"),
        ({"listen": "224.0.0.1", "allow": ["10.0.0.0/8"]}, "listen"),
        ({"listen": "169.254.169.254", "allow": ["10.0.0.0/8"]}, "listen"),
        ({"port": 80}, "port"),
        ({"port": 65536}, "port"),
        ({"port": True}, "port"),
        ({"port": "9743"}, "port"),
        ({"allow": ["10.0.0.1/16"]}, "allow"),
        ({"allow": ["everyone"]}, "allow"),
        ({"allow": ["0.0.0.0/0"]}, "allow"),
        ({"allow": ["::/0"]}, "allow"),
        ({"allow": ["169.254.0.0/16"]}, "allow"),
        ({"names": ["http://nat-a"]}, "names"),
        ({"names": ["nat a"]}, "names"),
        ({"names": ["*.example.com"]}, "names"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_one_line(given, key):
    with pytest.raises(ConfigError) as refusal:
        settings.parse(**given, prefix="nat_instance_web.")
    assert refusal.value.key == f"nat_instance_web.{key}"
    assert "\n" not in str(refusal.value)
