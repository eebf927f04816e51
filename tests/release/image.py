"""The image for serving as one file, built by buildah from a wheelhouse without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from release import sbom
from release.hashes import ROOT

DEBIAN = "localhost/hepatica-base"
"""Debian with Python, made from Debian's packages where no registry of images can be reached."""
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_MIRROR = "http://deb.debian.org/debian"

_NOBODY = 31337
_TRIAL = """
ip link set lo up 2>/dev/null || python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))'
mount --bind "$1" /mnt && mount -o remount,bind,ro /mnt && mount -t proc proc /mnt/proc
mount -t tmpfs none /mnt/tmp && mount -t tmpfs -o mode=700,uid=$2,gid=$2 none /mnt/srv/hepatica/var
exec chroot --userspec $2:$2 /mnt /usr/bin/env -i PATH=/srv/venv/bin:/usr/bin:/bin HOME=/tmp \
    HEPATICA_HOST=127.0.0.1 HEPATICA_DATABASE_URL=sqlite:////srv/hepatica/var/hepatica.sqlite3 \
    sh -euc '
cd /srv/hepatica && python -m app serve & server=$!
for wait in $(seq 300); do
    kill -0 $server
    python -c "import urllib.request as r
r.urlopen(\\"http://127.0.0.1:8000/health/ready\\")" 2>/dev/null && exit
    sleep 0.2
done
exit 1'
"""
"""Arguments: the file system, the number of the user."""


@dataclass(frozen=True)
class Made:
    """An image that was built.

    Attributes:
        bytes: uncompressed, all layers together.
        parts: how many packages its bill of materials lists.
        tried: what a server in it said, in words.
    """

    archive: Path
    bytes: int
    parts: int
    tried: str

    @property
    def words(self) -> str:
        """One line for people."""
        return (
            f"{self.archive}: {self.archive.stat().st_size / 1e6:,.0f} MB; unpacked "
            f"{self.bytes / 1e6:,.0f} MB, {self.parts} packages of Debian and Python. {self.tried}"
        )


def base_of_debian() -> str:
    """Make the base image by debootstrap (as root); its name."""
    if not shutil.which("debootstrap"):
        raise SystemExit("A base of Debian's packages needs debootstrap: apt-get install it.")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        _run(
            "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root), _MIRROR
        )
        for waste in ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc"):
            _empty(root / waste)
        container = _run("buildah", "from", "scratch")
        _run("buildah", "add", "--quiet", container, str(root), "/")
        _run("buildah", "commit", "--quiet", "--rm", container, DEBIAN)
    return DEBIAN


def build(wheelhouse: Path, base: str, version: str) -> Made:
    """Build the Dockerfile's stage ``web``, and put archive and bill beside the wheels."""
    if not shutil.which("buildah"):
        raise SystemExit("An image needs buildah: apt-get install buildah.")
    name = f"localhost/hepatica:{version}"
    cut = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
    _run("buildah", "pull", "--quiet", "--policy", "missing", base)
    _run(
        *cut, "buildah", "bud", "--quiet", "--isolation", "chroot", "--format", "docker",
        "--pull-never", "--target", "web", "--tag", name,
        "--build-arg", f"BASE={base}",
        "--build-arg", "PIP_OPTIONS=--no-index --find-links /wheels",
        "--volume", f"{wheelhouse.resolve() / 'wheels'}:/wheels:ro",
        str(ROOT),
    )  # fmt: skip
    archive = wheelhouse / f"hepatica-{version}-image.tar"
    for old in (archive, Path(f"{archive}.gz")):
        old.unlink(missing_ok=True)
    _run("buildah", "push", "--quiet", name, f"docker-archive:{archive.resolve()}:{name}")
    size = archive.stat().st_size
    _run("gzip", "--no-name", str(archive))
    container = _run("buildah", "from", name)
    try:
        root = Path(_run("buildah", "mount", container))
        told = sbom.of_image(root, f"hepatica:{version}")
        tried = try_out(root)
    finally:
        _run("buildah", "rm", container)
    (wheelhouse / f"hepatica-{version}-image.cdx.json").write_text(told, "utf-8")
    parts = len(json.loads(told)["components"])
    return Made(Path(f"{archive}.gz"), size, parts, tried)


def try_out(root: Path) -> str:
    """Serve from a file system that cannot be written, as a user without a name or a network.

    Raises:
        SystemExit: no answer from ``/health/ready`` within a minute.
    """
    if os.geteuid() != 0:
        return "It was not tried: that needs root."
    started = time.monotonic()
    _run("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _TRIAL,
         "sh", str(root), str(_NOBODY))  # fmt: skip
    return (
        f"Tried as user {_NOBODY} on a read-only root without a network: "
        f"ready after {time.monotonic() - started:.1f} s."
    )


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if not path.is_dir() or path.is_symlink():
            path.unlink()


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:3])} refuses: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()
