"""What can go wrong with a PACS, each in words that name it and nothing of a patient.

PacsFault              502   the PACS did not do its part
 ├ PacsDown                  it cannot be reached, or ended in the middle; try later
 ├ PacsSlow            504   it was silent, or took longer than it may; try later
 ├ PacsBusy                  it says that it cannot now (408, 429, 5xx); try later
 ├ Untrusted                 its certificate is not trusted
 ├ NotLetIn                  it does not let this installation in (401, 403, 407)
 ├ Redirected                it sends elsewhere, which is not followed
 ├ Refused                   it does not take the request (400, 405, 406, 415 …)
 ├ NotDicomWeb               it answers with something else: a web page, broken JSON
 ├ CutShort                  its answer ends before its end; try later
 ├ OtherThanAsked            it answers with another study or instance
 ├ TooMuch                   its answer is larger than the limit
 └ NotStored                 it did not store what it was sent, whatever it said; try later
NotInPacs              404   it does not hold what was asked for

A message holds no UID, no address with one, and nothing that the PACS has said.
"""

from __future__ import annotations

from typing import ClassVar

from app.errors import AppError, NotFound


class PacsFault(AppError):
    """The PACS did not do its part. ``passing``: another try later makes sense."""

    status, title = 502, "The PACS did not do its part"
    passing: ClassVar[bool] = False


class PacsDown(PacsFault):
    """It cannot be reached, or ended the connection."""

    passing = True


class PacsSlow(PacsFault):
    """It was silent for too long, or took longer than it may in all."""

    status, title = 504, "The PACS is too slow"
    passing = True


class PacsBusy(PacsFault):
    """It says itself that it cannot now."""

    passing = True


class Untrusted(PacsFault):
    """Its certificate is not one that this installation trusts."""


class NotLetIn(PacsFault):
    """It does not let this installation in."""


class Redirected(PacsFault):
    """It sends to another address, which is not followed."""


class Refused(PacsFault):
    """It does not take the request as it is. ``code``: the status of its answer, 0 without one."""

    code = 0


class NotDicomWeb(PacsFault):
    """It answers with something that is no DICOMweb."""


class CutShort(PacsFault):
    """Its answer ends before its end."""

    passing = True


class OtherThanAsked(PacsFault):
    """It answers with another study or instance than was asked for."""


class TooMuch(PacsFault):
    """Its answer is larger than the limit that is set for it."""


class NotStored(PacsFault):
    """It does not hold what it was sent, whatever it said."""

    passing = True


class NotInPacs(NotFound):
    """It does not hold what was asked for."""

    title = "Not in the PACS"
