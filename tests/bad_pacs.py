"""A PACS on loopback that misbehaves as a test says, down to the byte."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stow import content_type, parsed, related

Answer = bytes | Iterable[bytes]


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


class BadPacs:
    """Answers each request with the bytes that ``behave`` gives, and ends the connection.

    Attributes:
        url: of its DICOMweb.
        asked: every request, in order.
        closing: set when the test is over, for behaviours that wait.
    """

    def __init__(
        self, behave: Callable[[Asked], Answer], tls: ssl.SSLContext | None, port: int = 0
    ) -> None:
        self.behave = behave
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/dicom-web"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            line.settimeout(20)
            if self._tls:
                line = self._tls.wrap_socket(line, server_side=True)
            asked = _read(line)
            if asked is None:
                return
            self.asked.append(asked)
            answer = self.behave(asked)
            for piece in [answer] if isinstance(answer, bytes) else answer:
                line.sendall(piece)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65536):  # until the client has let go too, so that nothing is lost
                pass

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)


@contextmanager
def bad_pacs(
    behave: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[BadPacs]:
    """One that runs until the end of the block; on a free port, if none is named."""
    pacs = BadPacs(behave, tls, port)
    try:
        yield pacs
    finally:
        pacs.close()


def _read(line: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        body += line.recv(65536)
    return Asked(method, path, headers, body)


def answer(status: int, body: bytes = b"", kind: str = "application/dicom+json", **more: Any):
    """An answer in HTTP; further headers by name, such as ``content_length``."""
    headers = {"content-type": kind, "content-length": len(body), "connection": "close"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{told}\r\n".encode() + body


def holding(files: Sequence[bytes], **otherwise: bytes) -> Callable[[Asked], Answer]:
    """A PACS that lists these files, and gives each: or ``n1=…`` in the place of the second."""
    known = [parsed(file) for file in files]
    listed = [
        {tag: {"vr": "UI", "Value": [uid]} for tag, uid in (
            ("0020000D", one.StudyInstanceUID),
            ("0020000E", one.SeriesInstanceUID),
            ("00080018", one.SOPInstanceUID),
        )}
        for one in known
    ]  # fmt: skip

    def behave(asked: Asked) -> Answer:
        if "?" in asked.path:
            return answer(200, json.dumps(listed if "offset=0" in asked.path else []).encode())
        number = next(n for n, one in enumerate(known) if asked.path.endswith(one.SOPInstanceUID))
        given = answer(200, related(files[number]), content_type())
        return otherwise.get(f"n{number}") or given

    return behave
