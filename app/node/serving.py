"""``python -m app dicom-node``: the node over this installation's database, until it is told to
stop."""

from __future__ import annotations

import logging
import signal
import threading
from time import sleep

from app.db import Database
from app.decoding import limits
from app.errors import AppError
from app.faults import described
from app.models.cases.case import PHASES
from app.models.cases.entry import Door, Entry
from app.node.callers import Callers
from app.node.node import Listening, Node
from app.node.storing import Store
from app.pacs.configured import ConfiguredPacs
from app.settings import Settings


def node_of(settings: Settings, database: Database, listening: Listening, phase: str) -> Node:
    """The node of an installation.

    Raises:
        AppError: nobody may send, or the title or phase cannot be one.
        PacsRefused: the settings of a PACS cannot be used.
    """
    callers = Callers.of(settings)
    if not callers.known:
        raise AppError(
            "Nobody may send to the DICOM node: name the AE titles that may with "
            "HEPATICA_NODE_CALLERS, such as ORTHANC@10.0.0.7."
        )
    title = listening.aet.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or "\\" in title or not title.isprintable():
        raise AppError("An AE title has 1 to 16 letters of ASCII, and no backslash.")
    if phase not in PHASES:
        raise AppError(f"The contrast phase can be {', '.join(PHASES)}.")
    store = Store(database, limits(settings), phase, settings.key())
    names = {one.aet: one.name for one in ConfiguredPacs.of(settings).all if one.aet}
    return Node(listening, callers, store, Entry.at(settings, Door.NODE), names)


log = logging.getLogger("hepatica.node")

_LOOKS_EVERY_S = 0.2


def serve(node: Node) -> None:
    """Run until SIGINT or SIGTERM."""
    # PDUs that make no sense end threads of pynetdicom's; by itself Python prints their values
    before, threading.excepthook = threading.excepthook, _told
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda one, _frame: told.append(one))
    node.start()
    try:
        while not told:  # a lock would miss a signal that comes just before it is waited for
            sleep(_LOOKS_EVERY_S)
    finally:
        node.stop()
        threading.excepthook = before


def _told(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_value is not None:
        log.warning("A connection ended by a fault: %s", described(fault.exc_value))
