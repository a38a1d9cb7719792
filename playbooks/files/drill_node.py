# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a drill on a NAT node: a step, and the way back, which a timer takes if nobody else does.

``begin STEP LIMIT_S [PEER | SILENT_S]`` arms the way back, then takes a step: ``drain``,
``switchover`` (to PEER), ``stop`` (the service), ``kill`` (all packets are dropped for SILENT_S
seconds, as if the machine were dead). ``back`` undoes it; a second one changes nothing. A reboot
undoes ``stop`` and ``kill``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
COMMAND = "/usr/local/bin/nat-failover"
SERVICE = "nat-failover.service"
UNIT = "aws-ha-egress-drill"
REASON = "a drill"
HAND_OVER_S = "60"
STEPS = ("drain", "switchover", "stop", "kill")
# Before connection tracking and before all rules of others; the loopback stays
DROPS = (("PREROUTING", "-i"), ("OUTPUT", "-o"))
TABLES = ("iptables", "ip6tables")
MOST_RULES = 8  # that are alike, after a unit that was started again
TRIES, EVERY = 15, 1.0  # of a resume, while the service starts


def call(argv):
    """(exit code, output or error in one line) of a command."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, " ".join((done.stdout if done.returncode == 0 else done.stderr or done.stdout).split())


class Refused(Exception):
    """A step that was not taken, with the reason."""


class Node:
    """One NAT node. ``run(argv)`` is ``call``; ``folder`` holds the state of the drill."""

    def __init__(self, folder=FOLDER, run=call, sleep=time.sleep):
        self.state = os.path.join(folder, "state.json")
        self.file = os.path.join(folder, os.path.basename(__file__))
        self.run, self.sleep = run, sleep

    def begin(self, step, limit, more=""):
        """Arm the way back and take the step. Raises ``Refused`` with everything undone."""
        if step not in STEPS:
            raise Refused(f"unknown step {step!r}; known: {', '.join(STEPS)}")
        if os.path.exists(self.state):
            raise Refused(
                f"a drill is under way here ({self._read().get('step')}); end it with `python3 {self.file} back`"
            )
        began = time.time()
        with open(self.state, "w", encoding="ascii") as out:
            json.dump({"step": step, "at": began}, out)
        self._need(self._later("back", float(more) if step == "kill" else float(limit), "back"))
        try:
            self._take(step, more)
        except Refused as refusal:
            self.back()
            raise Refused(f"{refusal}; undone") from None
        return {"step": step, "began": began, "done": time.time()}

    def _take(self, step, more):
        if step == "drain":
            self._need([COMMAND, "drain", "--wait", HAND_OVER_S, "--reason", REASON])
        elif step == "switchover":
            self._need([COMMAND, "switchover", "--to", more, "--wait", HAND_OVER_S, "--reason", REASON])
        elif step == "stop":
            self._need(["systemctl", "stop", SERVICE])
        else:
            # A second later, so that the answer to this command still leaves the machine
            self._need(self._later("kill", 1.0, "silence"))

    def _need(self, argv):
        code, told = self.run(argv)
        if code != 0:
            raise Refused(f"{' '.join(argv[:2])}: {told or f'exit code {code}'}")

    def _later(self, unit, seconds, verb):
        """The command that lets systemd run this file in so many seconds."""
        name = f"{UNIT}-{unit}"
        timer = [
            "--quiet",
            "--collect",
            f"--unit={name}",
            f"--on-active={seconds:g}s",
            "--timer-property=AccuracySec=100ms",
        ]
        return ["systemd-run", *timer, sys.executable, self.file, verb]

    def _read(self):
        try:
            with open(self.state, encoding="ascii") as state:
                return json.load(state)
        except (OSError, ValueError):
            return {}

    def silence(self):
        """Drop each packet but those of the loopback."""
        for table in TABLES:
            for chain, flag in DROPS:
                self.run([table, "-w", "-t", "raw", "-I", chain, "1", "!", flag, "lo", "-j", "DROP"])

    def _speak(self):
        for table in TABLES:
            for chain, flag in DROPS:
                rule = [chain, "!", flag, "lo", "-j", "DROP"]
                for _rule in range(MOST_RULES):
                    if self.run([table, "-w", "-t", "raw", "-D", *rule])[0] != 0:
                        break

    def back(self):
        """Undo the step. Raises ``Refused`` if that fails; the timer is left armed then."""
        step = self._read().get("step", "")
        if step:
            self.run(["systemctl", "stop", f"{UNIT}-kill.timer"])
            self._undo(step)
            self.run(["systemctl", "stop", f"{UNIT}-back.timer"])
            os.unlink(self.state)
        return {"changed": bool(step), "step": step, "at": time.time()}

    def _undo(self, step):
        if step == "kill":
            self._speak()
            return
        code, told = self.run(["systemctl", "start", SERVICE])
        for _try in range(TRIES if step != "stop" else 0):
            code, told = self.run([COMMAND, "resume", "--reason", "the drill is over"])
            if code == 0:
                break
            self.sleep(EVERY)
        if code != 0:
            raise Refused(f"the way back from {step}: {told}")


def main(argv, node=None):
    """Print one JSON object. A refusal is one line on stderr and exit code 1."""
    node = node or Node()
    verbs = {
        "begin": lambda: node.begin(*argv[1:]),
        "back": node.back,
        "silence": lambda: node.silence() or {},
    }
    try:
        if not argv or argv[0] not in verbs:
            raise Refused(f"unknown word; known: {', '.join(verbs)}")
        sys.stdout.write(json.dumps(verbs[argv[0]]()) + "\n")
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
