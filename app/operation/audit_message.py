"""An event as an audit message of DICOM (PS3.15 A.5), and as a line of syslog (RFC 5424).

Events whose meaning DICOM has no code for carry their own kind under the scheme ``99HEPATICA``.
What the standard wants and is not kept here (Study Instance UID, Patient ID) is left out; a case
stands by the number that it has in this installation.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

_OWN = "99HEPATICA"
_PRIORITY = 10 * 8 + 5
"""Facility 10 (security), severity 5 (notice)."""
_MSGID = "DICOM+RFC3881"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_EVENTS = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110106": "Export",
    "110107": "Import",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
}
_TYPES = {
    "110120": "Application Start",
    "110122": "Login",
    "110123": "Logout",
    "110129": "Security Configuration",
    "110136": "Security Roles Changed",
    "110137": "User Security Attributes Changed",
}


@dataclass(frozen=True)
class _Meaning:
    """What DICOM calls a kind of event: EventID, EventTypeCode, action and outcome."""

    event: str
    type: str = ""
    action: str = "E"
    outcome: int = 0


_LOGIN_REFUSED = _Meaning("110114", "110122", "E", 4)
_ACCOUNT = _Meaning("110113", "110137", "U")
_EXPORT = _Meaning("110106", "", "R")

MEANINGS = {
    "server started": _Meaning("110100", "110120"),
    "audit trail exported": _Meaning("110101", "", "R"),
    "case opened": _Meaning("110103", "", "R"),
    "result returned": _Meaning("110104"),
    "case deleted": _Meaning("110105", "", "D"),
    "results exported": _EXPORT,
    "run results downloaded": _EXPORT,
    "dataset version downloaded": _EXPORT,
    "monitoring exported": _EXPORT,
    "case received": _Meaning("110107", "", "C"),
    "study fetched": _Meaning("110107", "", "C"),
    "studies searched": _Meaning("110112"),
    "settings changed": _Meaning("110113", "110129", "U"),
    "installation key adopted": _Meaning("110113", "110129", "U"),
    "role changed": _Meaning("110113", "110136", "U"),
    "account made": _ACCOUNT,
    "account disabled": _ACCOUNT,
    "account enabled": _ACCOUNT,
    "account unlocked": _ACCOUNT,
    "password changed": _ACCOUNT,
    "password reset": _ACCOUNT,
    "second step set up": _ACCOUNT,
    "second step removed": _ACCOUNT,
    "second step reset": _ACCOUNT,
    "recovery codes made": _ACCOUNT,
    "recovery code used": _Meaning("110114", "110122"),
    "sign-ins ended": _Meaning("110114", "110123"),
    "token made": _ACCOUNT,
    "token revoked": _ACCOUNT,
    "passwords tried on many names": _Meaning("110113", "", "E", 4),
    "signed in": _Meaning("110114", "110122"),
    "signed out": _Meaning("110114", "110123"),
    "sign-in refused": _LOGIN_REFUSED,
    "second step refused": _LOGIN_REFUSED,
    "password change refused": _LOGIN_REFUSED,
}
"""Kinds of events that DICOM has words for."""


@dataclass(frozen=True)
class Told:
    """An event with its place in the chain."""

    number: int
    digest: bytes
    at: datetime
    actor: str
    kind: str
    subject: str
    detail: dict[str, Any]


def xml(told: Told, source: str) -> bytes:
    """The message, UTF-8.

    Args:
        source: what identifies this installation (AuditSourceID).
    """
    meaning = MEANINGS.get(told.kind)
    root = Element("AuditMessage")
    event = SubElement(
        root,
        "EventIdentification",
        EventActionCode=meaning.action if meaning else "E",
        EventDateTime=told.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=str(meaning.outcome if meaning else 0),
    )
    if meaning:
        _coded(event, "EventID", meaning.event, "DCM", _EVENTS[meaning.event])
        if meaning.type:
            _coded(event, "EventTypeCode", meaning.type, "DCM", _TYPES[meaning.type])
    else:
        _coded(event, "EventID", told.kind.replace(" ", "-"), _OWN, told.kind)
    SubElement(root, "ActiveParticipant", UserID=_clean(told.actor), UserIsRequestor="true")
    identity = SubElement(root, "AuditSourceIdentification", AuditSourceID=_clean(source))
    _coded(identity, "AuditSourceTypeCode", "4", "DCM", "Application Server Process")
    thing = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_clean(told.subject) or told.kind,
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole="3",
    )
    _coded(thing, "ParticipantObjectIDTypeCode", "subject", _OWN, "Subject of an event")
    _detail(thing, "number", str(told.number))
    _detail(thing, "digest", told.digest.hex())
    _detail(thing, "kind", told.kind)
    if told.detail:
        _detail(thing, "detail", json.dumps(told.detail, sort_keys=True, ensure_ascii=False))
    # on one line: a receiver of syslog may write a line feed in another way
    message: bytes = _DECLARATION + ElementTree.tostring(root, "utf-8", xml_declaration=False)
    return message


def _coded(parent: Element, name: str, code: str, scheme: str, text: str) -> None:
    element = SubElement(parent, name)
    element.set("csd-code", _clean(code))
    element.set("codeSystemName", scheme)
    element.set("originalText", _clean(text))


def _detail(parent: Element, name: str, value: str) -> None:
    encoded = base64.b64encode(value.encode()).decode()
    SubElement(parent, "ParticipantObjectDetail", type=name, value=encoded)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def line(told: Told, host: str = "") -> bytes:
    """The message as syslog takes it over TLS: its length in bytes, a space, and it (RFC 5425).

    Args:
        host: of this machine; "": as it calls itself.
    """
    host = re.sub(r"[^!-~]", "-", host or socket.gethostname())[:255] or "-"
    at = told.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"<{_PRIORITY}>1 {at} {host} hepatica {os.getpid()} {_MSGID} - "
    message = head.encode() + "\ufeff".encode() + xml(told, f"hepatica@{host}")
    return b"%d " % len(message) + message
