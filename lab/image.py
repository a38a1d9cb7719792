# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk image of the lab's machines: a Debian made by debootstrap once, cached, and never changed afterwards."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError, Prerequisite
from .fabric.cleanup import mounts_below, unmount_below
from .fabric.names import CACHE

# Debian 12 or 13: LAB_SUITE=bookworm or trixie.
SUITES = ("bookworm", "trixie")
SUITE = os.environ.get("LAB_SUITE") or SUITES[0]
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-boto3", "sudo"),
    *("iptables", "iproute2", "iputils-ping", "conntrack", "procps", "curl"),
)
# Not wanted in a machine that has no console, no clock and no archive of its own.
MASKED = (
    *("console-getty.service", "getty.target", "systemd-networkd-wait-online.service", "systemd-timesyncd.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-firstboot.service"),
)
# The answer to "what is in the image": a change makes another image.
RECIPE = {"version": 1, "suite": SUITE, "packages": PACKAGES, "masked": MASKED}
LIMIT_S = 1800

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Mirror:
    """Where this machine gets its Debian packages from."""

    url: str
    keyring: str | None
    proxy: str | None


def path() -> Path:
    """Where the image of this recipe is, or will be."""
    digest = hashlib.sha256(json.dumps(RECIPE, sort_keys=True).encode()).hexdigest()[:16]
    return CACHE / f"{SUITE}-{digest}"


def ensure(progress: Progress) -> Path:
    """The image; made if it is not there. An interrupt leaves nothing that is taken for an image."""
    if SUITE not in SUITES:
        raise Prerequisite(f"LAB_SUITE is one of {', '.join(SUITES)}, not {SUITE!r}")
    image = path()
    if image.is_dir():
        return image
    if not shutil.which("debootstrap"):
        raise Prerequisite("debootstrap is not installed: apt-get install debootstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone(progress):
        if image.is_dir():
            return image
        _remove_drafts()
        draft = CACHE / f".draft-{os.getpid()}"
        try:
            _bootstrap(draft, progress)
            _prepare(draft)
            draft.rename(image)
        except BaseException:
            _remove_drafts()
            raise
    progress(f"image {image} is ready")
    return image


def mirror(etc: Path = Path("/etc/apt")) -> Mirror:
    """This machine's own archive, key ring and proxy."""
    found = next(_one_line_sources(etc), None) or next(_deb822_sources(etc), None)
    url, keyring = found or ("http://deb.debian.org/debian", None)
    keyring = keyring or "/usr/share/keyrings/debian-archive-keyring.gpg"
    return Mirror(url, keyring if Path(keyring).exists() else None, _proxy(url))


def _one_line_sources(etc: Path) -> Iterator[tuple[str, str | None]]:
    for file in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            match = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.strip())
            if match and _is_debian(match[3].split(), match[4].split()):
                signed = re.search(r"signed-by=(\S+)", match[1] or "")
                yield match[2], signed[1] if signed else None


def _deb822_sources(etc: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text(encoding="utf-8")):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = {
                key.strip().lower(): value.strip() for key, _colon, value in (line.partition(":") for line in lines)
            }
            off = fields.get("enabled", "yes").lower() == "no"
            if not off and _is_debian(fields.get("suites", "").split(), fields.get("components", "").split()):
                yield fields["uris"].split()[0], fields.get("signed-by")


def _is_debian(suites: list[str], components: list[str]) -> bool:
    """Debian's main archive of any release, which has the image's suite too; not its security archive and nobody else's."""
    releases = {"stable", "bullseye", "bookworm", "trixie", "forky", "sid"}
    return "main" in components and bool(releases & set(suites))


def _proxy(url: str) -> str | None:
    scheme = url.partition(":")[0]
    done = subprocess.run(
        ["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"], capture_output=True, text=True, check=False
    )
    match = re.match(r"PROXY='(.+)'", done.stdout)
    return match[1] if match and match[1] != "DIRECT" else None


@contextmanager
def _alone(progress: Progress) -> Iterator[None]:
    """One builder at a time on this machine."""
    with (CACHE / ".lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is making the image; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_drafts() -> None:
    """What interrupted builders left. With the lock held."""
    for draft in CACHE.glob(".draft-*"):
        unmount_below(draft)
        if not mounts_below(draft):
            shutil.rmtree(draft, ignore_errors=True)


def _bootstrap(draft: Path, progress: Progress) -> None:
    source = mirror()
    progress(f"making the machines' image from {source.url} (once; one to three minutes)")
    argv = ["debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES)]
    argv += [f"--keyring={source.keyring}"] if source.keyring else []
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    if source.proxy:
        environment[source.url.partition(":")[0] + "_proxy"] = source.proxy
    process = subprocess.Popen(
        [*argv, SUITE, str(draft), source.url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        last = _watch(process, progress)
        if process.wait() != 0:
            raise LabError(f"debootstrap failed: {last}")
    except BaseException:
        _end_group(process)
        raise


def _watch(process: subprocess.Popen[str], progress: Progress) -> str:
    """Pass on where debootstrap is, now and then; the last error or line."""
    last, told, begin, error = "", time.monotonic(), time.monotonic(), ""
    for line in process.stdout or ():
        last = line.strip()
        error = last if last.startswith(("E:", "W: Failure")) else error
        if time.monotonic() - told > 5:
            told = time.monotonic()
            progress(f"image, {told - begin:.0f} s: {last.removeprefix('I: ')}")
        if time.monotonic() - begin > LIMIT_S:
            raise LabError(f"debootstrap took more than {LIMIT_S} s")
    return error or last


def _end_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, 15)
        process.wait(timeout=5)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
    process.wait()


def _prepare(root: Path) -> None:
    """What every machine has in common; what is its own comes at its first boot."""
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in ("etc/machine-id", "etc/resolv.conf", "etc/fstab"):
        (root / name).unlink(missing_ok=True)
        (root / name).touch()
    (root / "etc/ssh/sshd_config.d/lab.conf").write_text(
        "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nHostKey /etc/ssh/ssh_host_ed25519_key\n",
        encoding="ascii",
    )
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
