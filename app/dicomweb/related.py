"""Bodies of ``multipart/related`` that are sent here, cut into parts as they come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.errors import BadRequest, TooLarge
from app.media import Media
from app.objects.related import RELATED, Cutter, NotRelated

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)


@dataclass(frozen=True)
class Part:
    """One part of a body."""

    media: Media
    data: bytes


async def parts(content: Media, stream: AsyncIterator[bytes], most: int) -> list[Part]:
    """The parts of a body, each in memory.

    Args:
        content: the Content-Type of the whole.
        most: how many parts there may be.

    Raises:
        BadRequest: no boundary, none of its parts, or cut short.
        TooLarge: more parts than that.
    """
    boundary = content.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest(
            f"The Content-Type {RELATED} needs a boundary of 1 to 70 characters (RFC 2046 5.1.1)."
        )
    found: list[Part] = []

    def refuse_more() -> None:
        if len(found) >= most:
            raise TooLarge(
                f"More than {most} instances were sent at once. Send fewer, or ask the "
                "administrator to raise HEPATICA_MAX_UPLOAD_FILES."
            )

    def keep(headers: dict[str, str], data: bytes) -> None:
        found.append(Part(Media.of(headers.get("content-type", "")), data))

    cutter = Cutter(boundary, keep, refuse_more)
    try:
        async for chunk in stream:
            cutter.take(chunk)
        cutter.close()
    except NotRelated:
        raise BadRequest(
            "The body is not multipart/related with the boundary that the Content-Type names."
        ) from None
    if not cutter.ended:
        raise BadRequest(
            "The body is cut short: its last boundary is missing. Nothing was stored; send it "
            "again."
        )
    return found
