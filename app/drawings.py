"""How many synthetic ROIs may be drawn at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Unavailable

AT_ONCE = 2
"""Large orders under way in one process: each keeps a thread and a core busy."""
SMALL = 16
"""Orders of so many images pass at once: a tenth of a second each at most …"""
SMALL_EVALUATIONS = 80
"""… if they take no more evaluations of a network than this; of a GAN an image takes one."""


class Drawings:
    """The places for large orders in one process."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def place(self, count: int, evaluations: int = 1) -> Iterator[None]:
        """A place for an order of ``count`` images; Unavailable when all are taken.

        Args:
            evaluations: of the network, for each image.
        """
        if count <= SMALL and count * evaluations <= SMALL_EVALUATIONS:
            yield
            return
        if not self._places.acquire(blocking=False):
            raise Unavailable("Other synthetic images are being drawn. Try again in a moment.")
        try:
            yield
        finally:
            self._places.release()
