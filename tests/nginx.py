"""A real nginx, configured as the README says, in front of a server of our own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

from app.place import ROOT

PREFIX = "/hepatica"


def missing() -> str:
    """Why there is none; "" where there is one."""
    if nginx() is None:
        return "no nginx on this machine: `make setup-proxy` installs it"
    return "" if shutil.which("openssl") else "no openssl here to make a certificate"


def nginx() -> str | None:
    """Where it is: Debian puts it where only an administrator's shell looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def documented() -> str:
    """The configuration in the README."""
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.findall(r"^```nginx\n(.*?)^```", readme, re.S | re.M)
    assert len(found) == 1
    return str(found[0])


class Nginx:
    """One nginx with a certificate of its own, until `close`.

    Attributes:
        port: where it speaks HTTPS; ``plain_port``: where it sends there from HTTP.
        certificate: that it shows, to be trusted.
    """

    def __init__(self, folder: Path, server_port: int, port: int) -> None:
        folder.mkdir()
        self.port, self.plain_port = port, free_port()
        self.certificate = folder / "hepatica.pem"
        key = folder / "hepatica.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", self.certificate, "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        self._log = folder / "error.log"
        text = documented()
        for told, own in (
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            ("/etc/ssl/hepatica.pem", str(self.certificate)),
            ("/etc/ssl/private/hepatica.key", str(key)),
            ("server 127.0.0.1:8000;", f"server 127.0.0.1:{server_port};"),
        ):
            assert text.count(told) == 1, told
            text = text.replace(told, own)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "\n".join(f"{one}_temp_path {folder}/{one};" for one in kinds)
        (folder / "nginx.conf").write_text(
            f"daemon off;\nworker_processes 1;\npid {folder}/pid;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{places}\n{text}\n}}\n"
        )
        command = nginx()
        assert command is not None
        self.process = subprocess.Popen(
            [command, "-p", str(folder), "-e", str(self._log), "-c", str(folder / "nginx.conf"),
             *_as_whom()],
        )  # fmt: skip

    @property
    def origin(self) -> str:
        """Of its pages."""
        return f"https://localhost:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """That trusts it, and nobody else."""
        return ssl.create_default_context(cafile=str(self.certificate))

    @property
    def log(self) -> str:
        """What it complained of."""
        return self._log.read_text() if self._log.exists() else ""

    def wait(self) -> Nginx:
        """Until it takes connections."""
        for _ in range(200):
            assert self.process.poll() is None, self.log
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError(self.log)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


def _as_whom() -> list[str]:
    """Its workers are of the account that runs the tests: they write into folders of these."""

    return ["-g", "user root;"] if os.geteuid() == 0 else []
