"""The node itself: what it offers, whom it lets in, and what it answers (pynetdicom).

DIMSE knows no passwords: an AE title is a name that anybody can give. So the node listens on
loopback unless told otherwise, and lets in only who is on its list.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from app.errors import AppError
from app.models.cases.entry import Entry
from app.node.callers import Callers
from app.node.line import Line, Room
from app.node.storing import Store, answered
from ml.images import dicom
from ml.marks import reading, segmentation

log = logging.getLogger("hepatica.node")

# at DEBUG pynetdicom writes whole data sets to its log, at INFO names of peers
logging.getLogger("pynetdicom").addHandler(logging.NullHandler())
logging.getLogger("pynetdicom").propagate = False
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)

IDLE_S = 60.0
"""An association in which nothing is said for so long is ended."""
_MOST_WAITING = 32
"""Connections that have not introduced themselves yet; the oldest makes room for a further one."""
_NO_LIMIT = 2**20
"""Of pynetdicom's own count, which takes every connection for an association, closed ones too."""
_ENDS_IN_S = 2.0
_PDU_BYTES = 2**16
_REJECTED_FOR_GOOD, _BY_USER, _CALLER_NOT_KNOWN = 0x01, 0x01, 0x03
_REJECTED_FOR_NOW, _BY_PRESENTATION, _TOO_MANY = 0x02, 0x03, 0x02


@dataclass(frozen=True)
class Listening:
    """Where the node listens, and under which name.

    Attributes:
        associations: most at the same moment.
    """

    aet: str
    host: str
    port: int
    associations: int = 8


class Node:
    """A DICOM node that runs in threads of its own until it is stopped.

    Args:
        callers: who is let in.
        entry: the door, and what is allowed there.
        names: AE titles of configured PACS, with what the settings call them.
    """

    def __init__(
        self,
        listening: Listening,
        callers: Callers,
        store: Store,
        entry: Entry,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._callers = callers
        self._store = store
        self._entry = entry
        self._names = dict(names or {})
        self._lines: dict[Association, Line] = {}
        """Of every open connection, the oldest first."""
        self._lock = threading.Lock()
        self._room = Room()
        self._stopped = False
        self._listening = listening
        self._server: ThreadedAssociationServer | None = None
        self._ae = AE(listening.aet)
        self._ae.implementation_version_name = "HEPATICA"
        self._ae.require_called_aet = True
        self._ae.require_calling_aet = list(callers.known)
        self._ae.maximum_associations = _NO_LIMIT
        self._ae.maximum_pdu_size = _PDU_BYTES
        self._ae.acse_timeout = IDLE_S / 2
        self._ae.dimse_timeout = IDLE_S
        self._ae.network_timeout = IDLE_S
        self._ae.add_supported_context(Verification)
        for uid in dicom.CT_CLASSES:
            self._ae.add_supported_context(uid, list(dicom.SYNTAXES))
        for told in reading.KINDS:
            self._ae.add_supported_context(UID(told), list(segmentation.READ))

    @property
    def port(self) -> int:
        """Where it listens; the one that the system chose for port 0."""
        return int(self._server.server_address[1]) if self._server else self._listening.port

    def start(self) -> None:
        """Listen.

        Raises:
            AppError: the address cannot be listened on.
        """
        where = (self._listening.host, self._listening.port)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_DIMSE_RECV, self._message_came),
            (evt.EVT_C_STORE, self._store_one),
        ]
        try:
            found = self._ae.start_server(where, block=False, evt_handlers=handlers)
        except OSError as error:
            raise AppError(
                f"The DICOM node cannot listen on {where[0]}, port {where[1]} ({error.strerror}). "
                "Another program may use it; choose another with --port."
            ) from error
        self._server = found

    def stop(self) -> None:
        """End every association; what was not acknowledged, its sender sends again."""
        self._stopped = True
        until = monotonic() + _ENDS_IN_S
        while (waiting := self._waiting()) and monotonic() < until:
            for line in waiting:  # pynetdicom cannot abort what is no association yet
                line.cut()
            sleep(0.02)
        self._ae.shutdown()

    # -- what happens --------------------------------------------------------------------------

    def _opened(self, event: Event) -> None:
        bound = event.assoc.dul.socket
        connection = bound.socket if bound else None
        if connection is None or bound is None:
            return
        line = Line(connection, room=self._room)
        bound.recv = line.recv  # type: ignore[method-assign]
        waiting = self._waiting()
        with self._lock:
            self._lines[event.assoc] = line
        if self._stopped:
            line.cut()
        elif len(waiting) >= _MOST_WAITING:
            log.warning("A connection that did not say whose it is made room for another.")
            waiting[0].cut()

    def _waiting(self) -> list[Line]:
        with self._lock:
            found = dict(self._lines)
        for association in found:
            # a PDU that makes no sense ends a thread of pynetdicom's without a word to anybody
            if _has_ended(association) or _has_ended(association.dul):
                self._forget(association)
        return [line for line in found.values() if not line.introduced]

    def _closed(self, event: Event) -> None:
        self._forget(event.assoc)

    def _forget(self, association: Association) -> None:
        with self._lock:
            line = self._lines.pop(association, None)
        if line is not None:
            line.cut()
            line.message_came()
        if association.requestor.primitive is None:
            # else its thread waits for who it is until `acse_timeout`
            association.dul.to_user_queue.put(None)  # type: ignore[arg-type]

    def _requested(self, event: Event) -> None:
        told = event.assoc.requestor
        title = str(getattr(told.primitive, "calling_ae_title", "") or "")
        if not self._callers.admit(title, str(told.address)):
            log.warning("An association was refused: its caller is not on the list.")
            self._reject(event.assoc, _REJECTED_FOR_GOOD, _BY_USER, _CALLER_NOT_KNOWN)
        elif not self._let_in(event.assoc):
            log.warning("An association was refused: there are as many as are let in at once.")
            self._reject(event.assoc, _REJECTED_FOR_NOW, _BY_PRESENTATION, _TOO_MANY)

    def _let_in(self, association: Association) -> bool:
        self._waiting()  # forgets those that have ended
        with self._lock:
            line = self._lines.get(association)
            taken = sum(one.introduced for one in self._lines.values())
            if line is None or taken >= self._listening.associations:
                return False
            line.introduced = True
            return True

    @staticmethod
    def _reject(association: Association, *words: int) -> None:
        association.acse.send_reject(*words)
        association.kill()

    def _message_came(self, event: Event) -> None:
        line = self._lines.get(event.assoc)
        if line is not None:
            line.message_came()

    def _store_one(self, event: Event) -> Dataset:
        caller = str(event.assoc.requestor.ae_title).strip()
        request = cast(C_STORE, event.request)
        named = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        # a result goes back to the configured PACS that has this title
        source = self._names.get(caller, caller)
        entry = Entry(self._entry.door, self._entry.terms, source)
        data = event.encoded_dataset()
        return answered(self._store.take(data, named, entry, f"DICOM node: {caller}"))


def _has_ended(thread: threading.Thread) -> bool:
    return thread.ident is not None and not thread.is_alive()
