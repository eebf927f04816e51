"""A real Orthanc, the PACS that the tests ask: its DICOMweb plug-in and its DICOM server.

`make setup-pacs` installs it. Tests that want one of their own, with other settings, make it:
``with Orthanc.started(folder, DicomAet="OTHER") as pacs: …``.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PERSON, PASSWORD = "hepatica", "a password of the tests"
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


def missing() -> str:
    """Why there can be no Orthanc here; "" where there can."""
    if _program() is None:
        return "no Orthanc on this machine: `make setup-pacs` installs it"
    if _dicomweb() is None:
        return "Orthanc is here without its DICOMweb plug-in: `make setup-pacs` installs it"
    return ""


def _program() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


def _dicomweb() -> Path | None:
    found = (path for folder in _PLUGINS for path in Path(folder).glob("libOrthancDicomWeb.so*"))
    return next(found, None)


class Orthanc:
    """One Orthanc on free ports of loopback, with a folder of its own.

    Attributes:
        url: of its DICOMweb, with a slash at the end.
        rest: of its own API, without one.
        aet, dicom_port: of its DICOM server on 127.0.0.1.
    """

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.http_port, self.dicom_port = _free_ports(2)
        self.rest = f"http://127.0.0.1:{self.http_port}"
        self.url = f"{self.rest}/dicom-web/"
        self.configuration: dict[str, Any] = {
            "Name": "Tests",
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {PERSON: PASSWORD},
            "DicomServerEnabled": True,
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom_port,
            "DicomCheckModalityHost": False,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [str(_dicomweb())],
            "StableAge": 1,
            "OverwriteInstances": False,
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "StudiesMetadata": "Full",
                "SeriesMetadata": "Full",
            },
            **more,
        }
        self.aet = str(self.configuration["DicomAet"])
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def started(cls, folder: Path, **more: Any) -> Iterator[Orthanc]:
        """One that runs until the end of the block; ``more`` goes into its configuration."""
        pacs = cls(folder, **more)
        pacs.start()
        try:
            yield pacs
        finally:
            pacs.kill()

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "orthanc.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, also again with what it holds; returns once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(self.configuration, indent=1))
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_program()), str(settings)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_end_with_the_tests if sys.platform == "linux" else None,
            )
        for _ in range(600):
            if self._process.poll() is not None:
                raise RuntimeError(f"Orthanc ended by itself:\n{self.log}")
            try:
                self.ask("/system")
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"Orthanc did not start:\n{self.log}")

    def stop(self) -> None:
        """End it in order, which takes it seconds; what it holds stays in its folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ask(self, path: str, data: bytes | None = None, method: str | None = None) -> Any:
        """The answer of its own API, parsed; ``data`` makes it a POST."""
        return json.loads(self._asked(path, data, method))

    def give(self, *files: bytes) -> None:
        """Store DICOM files past DICOMweb."""
        for file in files:
            self.ask("/instances", file)

    def held(self) -> dict[str, bytes]:
        """SOP Instance UID → bytes of everything that it holds."""
        return {
            one["MainDicomTags"]["SOPInstanceUID"]: self._asked(f"/instances/{one['ID']}/file")
            for one in self.ask("/instances?expand")
        }

    def forget(self) -> None:
        """Delete everything that it holds."""
        for patient in self.ask("/patients"):
            self.ask(f"/patients/{patient}", method="DELETE")

    def _asked(self, path: str, data: bytes | None = None, method: str | None = None) -> bytes:
        request = urllib.request.Request(self.rest + path, data, method=method)
        word = b64encode(f"{PERSON}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
        with urllib.request.urlopen(request, timeout=20) as reply:
            return bytes(reply.read())


def _end_with_the_tests() -> None:
    """Have the kernel end this process when the one that started it is killed (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
