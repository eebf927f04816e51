"""DICOM files in an answer: as parts of ``multipart/related``, or one as the whole body."""

from __future__ import annotations

from collections.abc import Iterator

from app.objects.related import RELATED, Cutter, NotRelated
from app.pacs.exchange import Reply
from app.pacs.faults import CutShort, NotDicomWeb, PacsFault
from ml.images.dicom import is_part10

_LONGEST = 200
"""Characters of a boundary; the standard has 70."""


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
    shown, boundary = reply.pacs.shown, reply.parameter("boundary")
    if not boundary or len(boundary) > _LONGEST:
        raise NotDicomWeb(f"{shown} answers with {RELATED} that names no boundary.")
    whole: list[bytes] = []
    cutter = Cutter(boundary, lambda _headers, data: whole.append(data))
    try:
        for chunk in chunks:
            cutter.take(chunk)
            while whole:
                yield _checked(reply, whole.pop(0))
        cutter.close()
    except NotRelated:
        raise NotDicomWeb(
            f"{shown} answers with a body that is not {RELATED} as it says."
        ) from None
    if not cutter.ended:
        raise CutShort(f"The answer of the PACS {reply.pacs.name} ends before its end.")


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
