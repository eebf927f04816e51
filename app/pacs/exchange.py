"""One request to a PACS and its answer: nothing is followed, and nothing is waited for endlessly.

Proxies of the environment are not used, cookies not kept, redirects not followed, and compressed
answers not asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

import httpcore

from app.pacs.configured import PacsSettings
from app.pacs.faults import (
    CutShort,
    NotDicomWeb,
    NotInPacs,
    NotLetIn,
    PacsBusy,
    PacsDown,
    PacsFault,
    Redirected,
    Refused,
    TooMuch,
)
from app.pacs.line import Clock, Line
from app.settings import VERSION

# its trace repeats headers of answers, and they may hold addresses of studies
logging.getLogger("httpcore").setLevel(logging.ERROR)


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
        if status in (408, 425, 429) or status >= 500:
            raise PacsBusy(f"{shown} cannot do it now ({status}). Try again later.")
        raise Refused(
            f"{shown} does not take the request ({status}). Check url of its entry, and whether it "
            "offers this service: `python -m app pacs check`."
        )


class Exchange:
    """Requests to one PACS, one after the other over one line; for one thread at a time."""

    def __init__(self, pacs: PacsSettings) -> None:
        self.pacs = pacs
        self._clock = Clock(pacs)
        self._pool = httpcore.ConnectionPool(
            ssl_context=pacs.trust if pacs.is_encrypted else None,
            max_connections=1,
            keepalive_expiry=10.0,
            network_backend=Line(self._clock),
        )

    def close(self) -> None:
        """Let the line go."""
        self._pool.close()

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
        url = self.pacs.url + path
        try:
            with self._pool.stream(
                method, url, headers=self._headers(accept, kind, body), content=iter(body)
            ) as response:
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                if headers.get("content-encoding", "identity").lower() != "identity":
                    raise NotDicomWeb(
                        f"{self.pacs.shown} answers compressed, which was not asked for."
                    )
                stream = response.iter_stream()
                yield Reply(self.pacs, response.status, headers, iter(stream))
        except PacsFault:
            raise
        except httpcore.RemoteProtocolError as error:
            raise self._broken(error) from None
        except (httpcore.NetworkError, httpcore.TimeoutException):
            raise PacsDown(
                f"{self.pacs.shown} ended the connection in the middle. Try again later."
            ) from None
        except httpcore.ProtocolError:
            raise NotDicomWeb(f"{self.pacs.shown} does not answer in HTTP.") from None

    def _broken(self, error: httpcore.RemoteProtocolError) -> PacsFault:
        said = str(error)
        if "complete" in said:  # h11 says so of a body that is shorter than it was to be
            return CutShort(f"The answer of the PACS {self.pacs.name} ends before its end.")
        if "disconnected" in said:
            return PacsDown(f"{self.pacs.shown} ended the connection without an answer.")
        return NotDicomWeb(
            f"{self.pacs.shown} does not answer in HTTP. Is its address one of https?"
        )

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
