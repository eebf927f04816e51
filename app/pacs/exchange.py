"""One request to a PACS and its answer: nothing is followed, and nothing is waited for endlessly.

Proxies of the environment are not used, cookies not kept, redirects not followed, and compressed
answers not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

import h11

from app.pacs.configured import PacsSettings
from app.pacs.faults import (
    NotDicomWeb,
    NotInPacs,
    NotLetIn,
    PacsBusy,
    PacsDown,
    Redirected,
    Refused,
    TooMuch,
)
from app.pacs.line import Clock, Ended, Line
from app.settings import VERSION


@dataclass
class Reply:
    """An answer whose body comes as it is read."""

    pacs: PacsSettings
    status: int
    headers: dict[str, str]
    body: Iterator[bytes]

    @property
    def kind(self) -> str:
        """Its media type, in lower case and without parameters."""
        return self._message.get_content_type() if "content-type" in self.headers else ""

    def parameter(self, name: str) -> str:
        """A parameter of its Content-Type; "" where there is none."""
        found = self._message.get_param(name, "")
        return found if isinstance(found, str) else found[2]

    @property
    def _message(self) -> Message:
        told = Message()
        told["content-type"] = self.headers.get("content-type", "")
        return told

    def chunks(self, most_bytes: float) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            TooMuch: it is longer than that.
        """
        seen = 0
        told = self.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most_bytes:
            raise self._too_much(most_bytes)
        for chunk in self.body:
            seen += len(chunk)
            if seen > most_bytes:
                raise self._too_much(most_bytes)
            yield chunk

    def read(self, most_bytes: float) -> bytes:
        """The whole body; raises as ``chunks``."""
        return b"".join(self.chunks(most_bytes))

    def _too_much(self, most_bytes: float) -> TooMuch:
        return TooMuch(
            f"{self.pacs.shown} answers with more than {most_bytes / 1e6:.0f} MB, which is the "
            "most. Ask for less at a time, or ask the administrator to raise the limits of its "
            "entry."
        )

    def refuse_failure(self) -> None:
        """Return where the request was done.

        Raises:
            PacsFault: it was not, and why as far as the status tells.
            NotInPacs: there is no such thing there.
        """
        shown, status = self.pacs.shown, self.status
        if status < 300:
            return
        if status < 400:
            where = urlsplit(self.headers.get("location", "")).netloc
            elsewhere = f" to {where}" if where and where.isprintable() else ""
            raise Redirected(
                f"{shown} sends{elsewhere} instead of answering ({status}). That is not followed: "
                "put the final address into url of its entry."
            )
        if status in (401, 403, 407):
            raise NotLetIn(
                f"{shown} does not let this installation in ({status}). Check user and password, "
                "or the token, of its entry, and what they may do there."
            )
        if status in (404, 410):
            raise NotInPacs(f"{shown} does not hold what was asked for ({status}).")
        if status in (408, 425, 429) or (status >= 500 and status != 501):
            raise PacsBusy(f"{shown} cannot do it now ({status}). Try again later.")
        refusal = Refused(
            f"{shown} does not take the request ({status}). Check url of its entry, and whether it "
            "offers this service: `python -m app pacs check`."
        )
        refusal.code = status
        raise refusal


class Exchange:
    """Requests to one PACS, one after the other over one line; for one thread at a time."""

    def __init__(self, pacs: PacsSettings) -> None:
        self.pacs = pacs
        self._clock = Clock(pacs)
        self._line: Line | None = None

    def close(self) -> None:
        """Let the line go."""
        if self._line is not None:
            self._line.close()
            self._line = None

    @contextmanager
    def ask(
        self, method: str, path: str, accept: str, kind: str = "", body: Sequence[bytes] = ()
    ) -> Iterator[Reply]:
        """An answer, whatever its status; its body can be read within the block.

        Args:
            path: behind the PACS' address, with a slash at its beginning.
            kind: Content-Type of the body.

        Raises:
            PacsFault: there is no answer, or it breaks off.
        """
        self._clock.start()
        target = urlsplit(self.pacs.url).path + path
        headers = self._headers(accept, kind, body)
        try:
            line, head = self._answered(method, target, headers, body)
            told = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            if told.get("content-encoding", "identity").lower() != "identity":
                raise NotDicomWeb(f"{self.pacs.shown} answers compressed, which was not asked for.")
            yield Reply(self.pacs, head.status_code, told, self._body(line))
        except BaseException:
            self.close()
            raise
        if not line.is_idle:
            self.close()

    def _answered(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Sequence[bytes]
    ) -> tuple[Line, h11.Response]:
        """The line, and the head of the answer on it.

        A line that was used before may have been ended by the other side in the very moment; then
        the request was not heard, and what only looks is asked once more.
        """
        while True:
            used = self._line is not None and self._line.is_idle
            if not used:
                self.close()
            line = self._line = self._line or Line(self._clock)
            line.send(method, target, headers, body)
            try:
                head = line.next()
            except Ended:
                self.close()
                if used and method == "GET":
                    continue
                raise PacsDown(
                    f"{self.pacs.shown} ended the connection without an answer. Try again later."
                ) from None
            assert isinstance(head, h11.Response)
            return line, head

    @staticmethod
    def _body(line: Line) -> Iterator[bytes]:
        while isinstance(event := line.next(), h11.Data):
            yield bytes(event.data)
        line.rest()

    def _headers(self, accept: str, kind: str, body: Sequence[bytes]) -> list[tuple[str, str]]:
        try:
            secret = self.pacs.authorization()
        except ValueError:
            raise NotLetIn(
                f"The secret for the PACS {self.pacs.name} cannot be read on this server. Ask the "
                "administrator: `python -m app pacs check` says why."
            ) from None
        headers = [
            ("Host", urlsplit(self.pacs.url).netloc),
            ("Accept", accept),
            ("Accept-Encoding", "identity"),
            ("User-Agent", f"Hepatica/{VERSION}"),
        ]
        if secret:
            headers.append(("Authorization", secret))
        if kind:
            headers.append(("Content-Type", kind))
            headers.append(("Content-Length", str(sum(map(len, body)))))
        return headers
