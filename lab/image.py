# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk image of the lab's machines: a Debian made by mmdebstrap once, cached, and never changed afterwards."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .archive import Mirror, mirror
from .errors import LabError, Prerequisite
from .fabric.cleanup import mounts_below, unmount_below
from .fabric.names import CACHE

# Debian 12 or 13: LAB_SUITE=bookworm or trixie.
SUITES = ("bookworm", "trixie")
SUITE = os.environ.get("LAB_SUITE") or SUITES[0]
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-boto3", "sudo"),
    *("iptables", "nftables", "iproute2", "iputils-ping", "conntrack", "procps", "curl"),
)
# Not wanted in a machine that has no console, no clock and no archive of its own.
MASKED = (
    *("console-getty.service", "getty.target", "systemd-networkd-wait-online.service", "systemd-timesyncd.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-firstboot.service"),
)
# Read by nobody in a machine, and half of the files that it would have.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
BYTECODE = Path(__file__).parent / "bytecode" / "lab_bytecode.py"
# The answer to "what is in the image": a change makes another image.
RECIPE = {
    "version": 2,
    "suite": SUITE,
    "packages": PACKAGES,
    "masked": MASKED,
    "left out": LEFT_OUT,
    "bytecode": BYTECODE.read_text(encoding="utf-8"),
}
LIMIT_S, TICK_S = 1800, 20

__all__ = ["Mirror", "ensure", "mirror", "path"]
Progress = Callable[[str], None]


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
    if not shutil.which("mmdebstrap"):
        raise Prerequisite("mmdebstrap is not installed: apt-get install mmdebstrap")
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
    """The leftovers of interrupted builders. With the lock held."""
    for draft in CACHE.glob(".draft-*"):
        unmount_below(draft)
        if not mounts_below(draft):
            shutil.rmtree(draft, ignore_errors=True)


def _bootstrap(draft: Path, progress: Progress) -> None:
    source = mirror()
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--include=" + ",".join(PACKAGES)]
    argv += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT)]
    argv += [SUITE, str(draft), source.source(SUITE)]
    progress(f"making the machines' image of {SUITE} from {source.url} (once; one to two minutes)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    if source.proxy:
        environment[source.url.partition(":")[0] + "_proxy"] = source.proxy
    process = subprocess.Popen(
        argv,
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
            raise LabError(f"mmdebstrap failed: {last}")
    except BaseException:
        _end_group(process)
        raise


def _watch(process: subprocess.Popen[str], progress: Progress) -> str:
    """Pass on where mmdebstrap is, now and then; the last error or line."""
    last, begin, error = "", time.monotonic(), ""
    told = begin
    for line in process.stdout or ():
        last = line.strip()
        error = last if last.startswith(("E:", "W: Failure")) else error
        if last.startswith("I: ") and time.monotonic() - told > TICK_S:
            told = time.monotonic()
            progress(f"image, {told - begin:.0f} s: {last.removeprefix('I: ').removesuffix('...')}")
        if time.monotonic() - begin > LIMIT_S:
            raise LabError(f"mmdebstrap took more than {LIMIT_S} s")
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
    """The part that all machines share. A machine's own part comes at its first boot."""
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
    # By a .pth file: Debian's Python has a sitecustomize of its own.
    packages = root / "usr/lib/python3/dist-packages"
    shutil.copyfile(BYTECODE, packages / BYTECODE.name)
    (packages / "lab_bytecode.pth").write_text("import lab_bytecode\n", encoding="ascii")


def main() -> int:
    """Make the image now; ./dev does so while it installs Python packages."""
    try:
        ensure(lambda text: print(f"lab: {text}", file=sys.stderr, flush=True))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
