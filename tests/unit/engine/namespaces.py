# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces for tests with the real kernel: made, entered, linked, and removed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading

import pytest

CLONE_NEWNET = 0x40000000


def run(*argv):
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


def inside(space, *argv):
    run("ip", "netns", "exec", space, *argv)


def runner(space):
    """A runner of the engine whose commands run in a namespace."""

    def call(argv, *, timeout, stdin=""):
        argv = ["ip", "netns", "exec", space, *argv]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stdout, done.stderr

    return call


@contextlib.contextmanager
def made(spaces, *programs):
    """Namespaces with a loopback that is up. The test is skipped without root, ``ip`` and these programs, or where none can be made."""
    needed = ("ip", *programs)
    if os.geteuid() or not all(map(shutil.which, needed)):
        pytest.skip(f"needs root, {', '.join(needed)}")
    if subprocess.run(["ip", "netns", "add", spaces[0]], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made")
    with contextlib.ExitStack() as stack:
        stack.callback(run, "ip", "netns", "del", spaces[0])
        for space in spaces[1:]:
            run("ip", "netns", "add", space)
            stack.callback(run, "ip", "netns", "del", space)
        for space in spaces:
            inside(space, "ip", "link", "set", "lo", "up")
        yield


def entered(space, work):
    """The result of ``work()`` inside of a namespace."""
    found = []

    def enter():
        with open(f"/run/netns/{space}", "rb") as handle:
            if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        try:
            found.append(work())
        except Exception as error:  # pylint: disable=broad-except  # raised again below
            found.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def opened(space):
    """A TCP socket that lives in a namespace."""
    made_there = entered(space, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    made_there.settimeout(5)
    return made_there


def link(one, first, two, second, net):
    """A wire between two namespaces: .1 and .2 of a network of 24 bits."""
    run("ip", "link", "add", first, "netns", one, "type", "veth", "peer", "name", second, "netns", two)
    for space, device, address in ((one, first, f"{net}.1/24"), (two, second, f"{net}.2/24")):
        inside(space, "ip", "address", "add", address, "dev", device)
        inside(space, "ip", "link", "set", device, "up")
