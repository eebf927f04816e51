"""The line to a PACS: HTTP/1.1 over a socket that keeps to three deadlines.

A PACS that sends a byte each second is never silent, so a limit on silence alone would wait for it
for ever: every reading and writing here ends when the time for the whole request does.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import h11

from app.pacs.configured import PacsSettings
from app.pacs.faults import CutShort, NotDicomWeb, PacsDown, PacsFault, PacsSlow, Untrusted
from ml.ground.errors import reason


class Clock:
    """How long the request under way may still take."""

    def __init__(self, pacs: PacsSettings) -> None:
        self.pacs = pacs
        self._end = 0.0

    def start(self) -> None:
        """A request begins."""
        self._end = monotonic() + self.pacs.total_s

    def left(self, most_s: float) -> float:
        """Seconds that one step may take, ``most_s`` at most.

        Raises:
            PacsSlow: no time is left.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise self.over()
        return min(left, most_s)

    def over(self) -> PacsSlow:
        """What to say when a step took too long: of silence, or of the whole."""
        if monotonic() >= self._end:
            return PacsSlow(
                f"{self.pacs.shown} did not end its answer within {self.pacs.total_s:g} seconds. "
                "Try again later, or ask the administrator to raise total_s of its entry."
            )
        return PacsSlow(
            f"{self.pacs.shown} was silent for {self.pacs.read_s:g} seconds. Try again later, or "
            "ask the administrator to raise read_s of its entry."
        )


_CHUNK = 65_536


class Ended(Exception):
    """The other side has ended the line before it answered at all."""


class Line:
    """One connection to a PACS: a request, its answer, and the next request after that.

    Args:
        clock: which must be started before each request.

    Raises:
        PacsDown: nothing answers there.
        Untrusted: somebody does whose certificate is not trusted.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pacs = clock.pacs
        self._socket = self._connected()
        self._talk = h11.Connection(h11.CLIENT)

    def _connected(self) -> socket.socket:
        pacs = self._pacs
        try:
            found = socket.create_connection(pacs.web_address, self._clock.left(pacs.connect_s))
        except TimeoutError:
            raise PacsDown(
                f"{pacs.shown} could not be reached within {pacs.connect_s:g} seconds. Is it "
                "switched on, and does the network let this server through?"
            ) from None
        except OSError as error:
            raise PacsDown(f"{pacs.shown} cannot be reached: {reason(error)}.") from None
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._encrypted(found) if pacs.is_encrypted else found

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        pacs = self._pacs
        try:
            plain.settimeout(self._clock.left(pacs.connect_s))
            return pacs.trust.wrap_socket(plain, server_hostname=pacs.web_address[0])
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise Untrusted(
                f"The certificate of the PACS {pacs.name} is not trusted ({error.verify_message}). "
                "Nothing was sent. Name its authority's certificates in ca_bundle of its entry; "
                "the check cannot be turned off."
            ) from None
        except TimeoutError:
            plain.close()
            raise PacsDown(
                f"{pacs.shown} did not agree on TLS within {pacs.connect_s:g} seconds."
            ) from None
        except OSError:
            plain.close()
            raise PacsDown(
                f"{pacs.shown} does not speak TLS as this server does. Is its address one of "
                "https, and its TLS 1.2 or newer?"
            ) from None

    @property
    def is_idle(self) -> bool:
        """Whether it can take a request: it waits for one, and the other side has not ended it."""
        if self._talk.states != {h11.CLIENT: h11.IDLE, h11.SERVER: h11.IDLE}:
            return False
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        """Let it go."""
        with suppress(OSError):
            self._socket.close()

    def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Sequence[bytes]
    ) -> None:
        """A whole request.

        Where the other side stops reading, that is no fault yet: it may have answered before the
        end, as it does to what is too large.
        """
        with suppress(OSError):
            self._write(h11.Request(method=method, target=target, headers=list(headers)))
            for part in body:
                self._write(h11.Data(data=part))
            self._write(h11.EndOfMessage())

    def _write(self, event: h11.Event) -> None:
        for part in self._talk.send_with_data_passthrough(event) or ():
            rest = memoryview(part)
            while rest:
                self._socket.settimeout(self._clock.left(self._pacs.read_s))
                try:
                    rest = rest[self._socket.send(rest) :]
                except TimeoutError:
                    raise self._clock.over() from None

    def next(self) -> h11.Response | h11.Data | h11.EndOfMessage:
        """What comes next of the answer.

        Raises:
            Ended: nothing came at all.
            PacsFault: it is silent or takes too long, breaks off, or answers in no HTTP.
        """
        while True:
            try:
                event = self._talk.next_event()
            except h11.RemoteProtocolError as error:
                raise self._broken(error) from None
            if event is h11.NEED_DATA:
                self._more()
            elif isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
                return event
            elif not isinstance(event, h11.InformationalResponse):
                raise Ended

    def _more(self) -> None:
        self._socket.settimeout(self._clock.left(self._pacs.read_s))
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise self._clock.over() from None
        except OSError:
            if self._talk.their_state is h11.SEND_RESPONSE:
                raise Ended from None
            raise self._cut_short() from None  # no end that it meant
        if not data and self._talk.their_state is h11.SEND_RESPONSE:
            raise Ended
        self._talk.receive_data(data)

    def rest(self) -> None:
        """After an answer was read to its end: ready for the next request, where both sides are."""
        if self._talk.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._talk.start_next_cycle()

    def _broken(self, error: h11.RemoteProtocolError) -> PacsFault:
        if "complete" in str(error):  # h11 says so of a body that is shorter than it was to be
            return self._cut_short()
        return NotDicomWeb(
            f"{self._pacs.shown} does not answer in HTTP. Is its address one of https?"
        )

    def _cut_short(self) -> CutShort:
        return CutShort(f"The answer of the PACS {self._pacs.name} ends before its end.")
