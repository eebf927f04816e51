"""How much is decoded at the same moment: what is small on its way can be large in memory.

It is decoded by processes of their own (`app.uploads`), for which threads of their own wait, so
that nobody else waits for one. Of each person one upload is decoded at a time, and few in all; the
others wait without a thread, and not without end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from app import memory
from app.errors import TooMany, Unavailable
from app.settings import Settings
from app.uploads.asking import Images
from app.uploads.parcel import Limits
from ml.images.ct_slice import CTSlice

UPLOADS_AT_ONCE = 2
"""Uploads that one process decodes at the same moment."""
MOST_UPLOADS = 12
"""Uploads under way in one process, waiting ones as well."""
MOST_OF_ONE = 4
"""Of these, of one person."""
PATIENCE_S = 120.0
"""So long an upload waits for its turn."""
IMAGES_AT_ONCE = 4
"""Single images, of programs, that one process decodes at the same moment."""

_STORED_AFTER_S = 5.0
"""So long after it was decoded an upload is stored and answered, as a rule."""

DECODING_S = 120.0
"""So long one upload may be decoded; a series of 512 × 512 slices takes seconds."""

Decoded = TypeVar("Decoded")
ReadFrame = Callable[[bytes, str, int | None], CTSlice]
"""One image of a file, by what it is called and the number of its frame."""


def limits(configuration: Settings) -> Limits:
    """What one upload may hold and cost, by whichever door it comes."""
    return Limits(
        files=configuration.max_upload_files,
        unpacked_bytes=int(configuration.max_unpacked_mb * 1e6),
        pixels=int(configuration.max_decoded_mpx * 1e6),
        seconds=DECODING_S,
        memory_bytes=int(configuration.max_decoding_mb * 1e6),
    )


class Decoding:
    """The places for decoding in one process; used on its event loop alone.

    Args:
        most: what one file may cost.
    """

    def __init__(self, most: Limits) -> None:
        self._places = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._under_way: Counter[str] = Counter()
        self._own: dict[str, asyncio.Lock] = {}
        self._uploads = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="upload")
        self._images = ThreadPoolExecutor(IMAGES_AT_ONCE, thread_name_prefix="image")
        self._kept = Images(most)

    async def of_upload(self, whose: str, act: Callable[[], Decoded]) -> Decoded:
        """Decode an upload of a person when it is its turn.

        Raises:
            TooMany: too many uploads of this person are under way.
            Unavailable: too many are under way in all, or its turn did not come in time.
        """
        if self._under_way[whose] >= MOST_OF_ONE:
            raise TooMany(
                "Too many of your uploads are under way. Wait until one has ended; then send this "
                "one again.",
                retry_after_s=10,
            )
        if self._under_way.total() >= MOST_UPLOADS:
            raise _busy()
        async with self._turn(whose):
            return await self._in(self._uploads, act)

    async def of_one(self, act: Callable[[], Decoded]) -> Decoded:
        """Decode one image."""
        return await self._in(self._images, act)

    def reader_of(self, whose: str) -> ReadFrame:
        """What reads single images for a program; it raises as `asking.Images.frame`."""
        return partial(self._kept.frame, whose)

    def close(self) -> None:
        """End the processes that are kept."""
        self._kept.close()

    @asynccontextmanager
    async def _turn(self, whose: str) -> AsyncIterator[None]:
        own = self._own.setdefault(whose, asyncio.Lock())
        self._under_way[whose] += 1
        try:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await own.acquire()
                    try:
                        await self._places.acquire()
                    except BaseException:
                        own.release()
                        raise
            except TimeoutError:
                raise _busy() from None
            try:
                yield
            finally:
                self._places.release()
                own.release()
                self._give_back_soon()
        finally:
            self._under_way[whose] -= 1
            if not self._under_way[whose]:
                del self._under_way[whose], self._own[whose]

    def _give_back_soon(self) -> None:
        """What the upload took is free once it is stored and answered."""
        loop = asyncio.get_running_loop()
        loop.call_later(_STORED_AFTER_S, loop.run_in_executor, None, memory.give_back)

    async def _in(self, threads: ThreadPoolExecutor, act: Callable[[], Decoded]) -> Decoded:
        return await asyncio.get_running_loop().run_in_executor(threads, act)


def _busy() -> Unavailable:
    return Unavailable(
        "Other uploads are being taken in. Nothing of this one was stored; send it again in a "
        "moment.",
        retry_after_s=10,
    )
