# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's traffic compares each octet: wrong data ends a stream, on either side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.traffic import client, server, words


@pytest.mark.parametrize("position", [0, 1, 250, 251, 252, 10**9])
def test_a_pattern_fits_at_its_place_and_nowhere_near(position: int) -> None:
    data = words.pattern(position, words.LONGEST)
    assert len(data) == words.LONGEST and words.fits(position, data + words.pattern(position + words.LONGEST, 99))
    assert not words.fits(position + 1, data) and not words.fits(position + 1448, data)
    assert not words.fits(position, data[:100] + data[101:])


async def against(kind: Any, make: Any, seconds: float) -> dict[str, Any]:
    """All that the client's side has seen after a while, against a server of a kind."""
    loop = asyncio.get_running_loop()
    serving = await loop.create_server(kind, "127.0.0.1", 0)
    transport, flow = await loop.create_connection(make, *serving.sockets[0].getsockname())
    await asyncio.sleep(seconds)
    seen = flow.progress.seen()
    transport.close()
    serving.close()
    return dict(seen)


class WrongDown(server.Down):
    """Leaves one octet out."""

    def begin(self) -> None:
        self.position += 1
        super().begin()


class WrongUp(client.Up):
    """The same."""

    position = 1


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (server.Echo, client.Echo),
        (server.Push, client.Push),
        (server.Down, client.Down),
        (server.Down, client.Pull),
        (server.Up, client.Up),
    ],
)
def test_each_kind_of_flow_goes_on(kind: Any, make: Any) -> None:
    seen = asyncio.run(against(kind, make, 0.3))
    assert seen["error"] == "" and seen["count"] > 3
    assert seen["peer"].startswith("127.0.0.1:")


@pytest.mark.parametrize(("kind", "make"), [(WrongDown, client.Down), (server.Up, WrongUp)])
def test_wrong_data_ends_a_stream(kind: Any, make: Any) -> None:
    seen = asyncio.run(against(kind, make, 0.3))
    assert seen["error"] in ("closed", "ConnectionResetError", "wrong data in a download at 0")
    assert seen["octets"] == 0


def test_a_pause_is_told_with_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 10.001, 10.5, 10.501, 11.0])
    monkeypatch.setattr(client.time, "monotonic", lambda: next(times))
    progress = client.Progress()
    for _each in range(3):
        progress.came()
    seen = progress.seen()
    assert seen["count"] == 3
    assert [(begin, round(length, 3)) for begin, length in seen["gaps"]] == [(10.001, 0.499), (10.501, 0.499)]
