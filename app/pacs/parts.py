"""DICOM files in an answer: as parts of ``multipart/related``, or one as the whole body."""

from __future__ import annotations

from collections.abc import Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from app.objects.related import RELATED
from app.pacs.exchange import Reply
from app.pacs.faults import CutShort, NotDicomWeb, PacsFault
from ml.images.dicom import is_part10

_MOST_HEADERS = 20


def files(reply: Reply, most_bytes: float) -> Iterator[bytes]:
    """The DICOM files of an answer, one after the other as they come.

    Args:
        most_bytes: of the whole answer.

    Raises:
        TooMuch: it is longer than that.
        CutShort: it breaks off, also where HTTP says that it is whole.
        NotDicomWeb: what it holds is no DICOM file.
    """
    chunks = reply.chunks(most_bytes)
    if reply.kind != RELATED:
        yield _checked(reply, b"".join(chunks))
        return
    cutter = _Cutter(reply)
    for chunk in chunks:
        cutter.take(chunk)
        yield from cutter.ready()
    cutter.end()


def _checked(reply: Reply, data: bytes) -> bytes:
    if not is_part10(data):
        raise not_dicom(reply, data)
    return data


def not_dicom(reply: Reply, data: bytes) -> PacsFault:
    """What to say of an answer that is of another kind than was asked for."""
    shown = reply.pacs.shown
    start = data[:400].lstrip().lower()
    if "html" in reply.kind or start.startswith((b"<!doctype", b"<html")):
        return NotDicomWeb(
            f"{shown} answers with a web page (HTML): it may want a sign-in, or url of its entry "
            "names another place than its DICOMweb."
        )
    if not data:
        return CutShort(f"{shown} answers with nothing.")
    return NotDicomWeb(f"{shown} answers with something else than was asked for.")


class _Cutter:
    """Cuts a body at its boundary; each part is handed on once it is whole."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._whole: list[bytes] = []
        self._data = bytearray()
        self._ended = False
        boundary = reply.parameter("boundary")
        if not boundary or len(boundary) > 200:
            raise NotDicomWeb(f"{reply.pacs.shown} answers with {RELATED} that names no boundary.")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._data.clear,
                "on_part_data": self._more,
                "on_part_end": self._part,
                "on_end": self._end,
            },
            max_header_count=_MOST_HEADERS,
        )

    def take(self, chunk: bytes) -> None:
        if self._ended:  # an epilogue says nothing (RFC 2046 5.1.1)
            return
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise NotDicomWeb(
                f"{self._reply.pacs.shown} answers with a body that is not {RELATED} as it says."
            ) from None

    def ready(self) -> Iterator[bytes]:
        while self._whole:
            yield _checked(self._reply, self._whole.pop(0))

    def end(self) -> None:
        if not self._ended:
            raise CutShort(f"The answer of the PACS {self._reply.pacs.name} ends before its end.")

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def _part(self) -> None:
        self._whole.append(bytes(self._data))
        self._data.clear()

    def _end(self) -> None:
        self._ended = True
