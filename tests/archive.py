"""A PACS in the tests' own process that keeps what it is sent: STOW-RS, QIDO-RS and WADO-RS."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from bad_pacs import Asked, answer

from stow import content_type, parsed, related

JSON = "application/dicom+json"
_TOLD = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_TAGS = ("0020000D", "0020000E", "00080018")


class Archive:
    """What `bad_pacs` can be given as its behaviour.

    Attributes:
        held: SOP Instance UID → file, what it held from the beginning.
        taken: likewise, what it was sent; the first bytes under a UID stay.
        stored: the UIDs of every object it was sent, in order.
    """

    def __init__(self, files: Iterable[bytes] = ()) -> None:
        self.held = {uids(one)[2]: one for one in files}
        self.taken: dict[str, bytes] = {}
        self.stored: list[str] = []
        self.at_post: Callable[[], None] = lambda: None
        """Called once an object is kept, before that is answered."""
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> bytes:
        if asked.method == "POST":
            return self._take(asked)
        path, _, query = asked.path.partition("?")
        if not query:
            return self._given(path.rpartition("/")[2])
        with self._lock:
            known = [uids(one) for one in {**self.held, **self.taken}.values()]
        found = [
            {tag: _ui(uid) for tag, uid in zip(_TAGS, one, strict=True)}
            for one in known
            if one[0] in path and "offset=0" in query and (one[2] in query or "SOP" not in query)
        ]
        return self.said(200, json.dumps(found).encode())

    def said(self, status: int, body: bytes, kind: str = JSON, **more: str) -> bytes:
        """An answer; what a test adds to all of them goes here."""
        return answer(status, body, kind, **more)

    def _given(self, uid: str) -> bytes:
        with self._lock:
            file = {**self.taken, **self.held}[uid]
        return self.said(200, related(file), content_type())

    def _take(self, asked: Asked) -> bytes:
        file = asked.body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        uid = uids(file)[2]
        with self._lock:
            self.taken.setdefault(uid, file)
            self.stored.append(uid)
        self.at_post()
        told = {"00081199": {"vr": "SQ", "Value": [{"00081155": _ui(uid)}]}}
        return self.said(200, json.dumps(told).encode())


def uids(file: bytes) -> tuple[str, str, str]:
    """Study, series and SOP Instance UID of a file."""
    known = parsed(file)
    study, series, sop = (str(known[word].value) for word in _TOLD)
    return study, series, sop


def _ui(uid: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [uid]}
