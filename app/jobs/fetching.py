"""A study, a series or an instance fetched from a configured PACS, to where uploads end.

The UIDs that are asked for lie in the job sealed, and are gone when it is over. What is fetched is
stored some instances at a time, with how far it is; a fetch that is begun again after its clerk was
killed asks only for what has not come since it was first asked for.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Database
from app.decoding import limits
from app.errors import AppError, Conflict, Unreadable
from app.jobs.items import Item, RefusedItem, asked_of, is_absent
from app.jobs.orders import MOST, LesionOrder, too_many
from app.models.cases.case import Case, Image, Receipt, Series
from app.models.cases.entry import Door, Entry
from app.models.cases.sealing import opened, sealed
from app.models.cases.uids import kept
from app.models.ground.event import Event
from app.models.jobs.job import Job, JobKind
from app.models.people.user import User
from app.pacs.answers import Found
from app.pacs.client import Pacs
from app.pacs.configured import ConfiguredPacs
from app.pacs.faults import (
    NotDicomWeb,
    NotInPacs,
    OtherThanAsked,
    PacsFault,
    Refused,
    TooMuch,
)
from app.settings import Settings
from app.uploads import asking
from ml.images.dicom import CT_CLASSES
from ml.marks.reading import KINDS

log = logging.getLogger("hepatica.clerk")

TOGETHER = 20
"""Instances that are stored in one transaction; or fewer, when so many seconds have passed."""
TOGETHER_S = 1.0
HEARD_EVERY_S = 15.0
MOST_TOLD = 20
"""Warnings, and reasons of refusals, that the result holds; the case has them all."""
WAITS_S = (1.0, 4.0)
"""Before an instance is asked for again that a PACS could not give in this moment."""
_OF_ONE = (NotInPacs, OtherThanAsked, TooMuch, NotDicomWeb, Refused)
"""Faults that may be an instance's own; the others are fetched all the same."""


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched, and where the viewer is opened then.

    Attributes:
        series, instance: "" for all of the study, or of the series.
        open_series, open_instance: what to show first; "" for whatever comes first.
        then: lesions to be classified when it is here, a list of `LesionOrder` as JSON; "" for
            none.
    """

    pacs: str
    study: str = field(repr=False)
    series: str = field(default="", repr=False)
    instance: str = field(default="", repr=False)
    open_series: str = field(default="", repr=False)
    open_instance: str = field(default="", repr=False)
    contrast_phase: str = "unknown"
    pseudonym: str = field(default="", repr=False)
    then: str = field(default="", repr=False)

    def asked(self, key: bytes) -> dict[str, Any]:
        """As a job keeps it: sealed; the PACS, and a digest by which the same is known, beside."""
        row = uuid.uuid4().hex
        text = base64.b64encode(sealed(asdict(self), f"fetch {row}", key)).decode("ascii")
        return {"row": row, "sealed": text, "same": self.digest(key), "pacs": self.pacs}

    @classmethod
    def of(cls, asked: dict[str, Any], key: bytes) -> Wanted:
        """From a job; Damaged where it does not open."""
        text = base64.b64decode(asked["sealed"])
        told: dict[str, Any] = dict(opened(text, f"fetch {asked['row']}", key))
        return cls(**told)

    def digest(self, key: bytes) -> str:
        """The same for the same wish, and telling nothing without the key."""
        return kept(json.dumps(asdict(self)), key)


@dataclass(frozen=True)
class Place:
    """Where in this installation something is."""

    case_id: uuid.UUID
    image_id: uuid.UUID | None

    @property
    def address(self) -> str:
        """Of its page."""
        at = f"?image={self.image_id}" if self.image_id else ""
        return f"/cases/{self.case_id}{at}"


def place(session: Session, study: str, series: str, instance: str, key: bytes) -> Place | None:
    """Where a study, series or instance is, by the sender's UIDs or ours; None where it is not."""
    case = session.scalars(
        sa.select(Case).where(sa.or_(Case.uid == study, Case.study_uid == kept(study, key)))
    ).first()
    if case is None:
        return None
    if not (series or instance):
        return Place(case.id, None)
    query = sa.select(Series).where(Series.case_id == case.id)
    if series:
        known = kept(series, key)
        query = query.where(sa.or_(Series.uid == series, Series.series_uid == known))
    for found in session.scalars(query.order_by(Series.created_at)):
        images = [one for stack in found.stacks for one in stack.images]
        if instance:
            images = [one for one in images if instance == one.uid or
                      one.sop_uid == kept(instance, key)]  # fmt: skip
        if images:
            return Place(case.id, images[0].id)
    return None


@dataclass(frozen=True)
class Hold:
    """A job in the hand of its clerk."""

    database: Database
    job_id: uuid.UUID
    clerk: str
    claim: int

    def progressed(self, session: Session, done: int, total: int) -> None:
        """Note how far it is, in a transaction of what was done.

        Raises:
            Conflict: it is another's by now, or was cancelled.
        """
        job = Job.of_clerk(session, self.job_id, self.clerk, self.claim)
        job.total = total
        if not job.progressed(session, done):
            raise _Cancelled

    @contextmanager
    def heard(self) -> Iterator[threading.Event]:
        """Be heard of meanwhile, however slow a PACS is; the event is set when it was lost."""
        lost, over = threading.Event(), threading.Event()

        def beat() -> None:
            while not over.wait(HEARD_EVERY_S):
                try:
                    with self.database.transaction() as session:
                        job = Job.of_clerk(session, self.job_id, self.clerk, self.claim)
                        if not job.progressed(session, job.done):
                            lost.set()
                            return
                except Conflict:
                    lost.set()
                    return
                except Exception as error:  # storing will tell
                    log.warning("A fetch could not be heard of (%s).", type(error).__name__)

        thread = threading.Thread(target=beat, name="fetch heard", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            over.set()
            thread.join()


class _Cancelled(Exception):
    """The job was ended as it was asked to be."""


@dataclass
class Fetching:
    """One fetch, by its clerk."""

    hold: Hold
    wanted: Wanted
    configured: ConfiguredPacs
    settings: Settings
    key: bytes
    owner_id: uuid.UUID | None
    asked_by: str
    since: datetime
    tally: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    warnings: dict[str, None] = field(default_factory=dict)

    def run(self) -> None:
        """Fetch, store, and end the job.

        Raises:
            PacsFault, NotInPacs: the PACS did not do its part.
            Unreadable: nothing of it could be taken in.
            Conflict: the job is another clerk's by now.
        """
        with self.hold.heard() as lost, Pacs(self.configured.named(self.wanted.pacs)) as pacs:
            try:
                self._fetch(pacs, lost)
            except _Cancelled:
                return
            except PacsFault as fault:
                if self.wanted.then and self._go_on(fault):
                    return
                if not self.tally["done"]:
                    raise
                raise type(fault)(
                    f"{fault} {self.tally['done']} of {self.tally['total']} instances were dealt "
                    "with before that, and what could be used of them is here. Ask again for the "
                    "others."
                ) from None
            self._finish()

    def _fetch(self, pacs: Pacs, lost: threading.Event) -> None:
        wanted = self.wanted
        found = pacs.instances(wanted.study, wanted.series, wanted.instance)
        if not found:
            what = "instance" if wanted.instance else "series" if wanted.series else "study"
            raise NotInPacs(f"The PACS {wanted.pacs} does not hold this {what}.")
        named = [one for one in found if one.sop_uid and one.series_uid]
        if len(named) < len(found):
            self.refused[
                f"The PACS {wanted.pacs} does not tell its SOP or Series Instance UID, so it "
                "cannot be asked for."
            ] += len(found) - len(named)
            if not named:
                raise NotDicomWeb(f"{next(iter(self.refused))} So it is with all that it found.")
        usable = [one for one in named if one.sop_class_uid in ("", *CT_CLASSES, *KINDS)]
        self.tally["passed_over"] = len(named) - len(usable)
        self.tally["total"] = len(usable)
        if not usable:
            raise Unreadable(
                f"The PACS {wanted.pacs} holds {len(named)} objects of this, and none is a CT "
                "image. Nothing was fetched."
            )
        usable.sort(key=lambda one: one.sop_class_uid in KINDS)  # images first, then their marks
        here = self._here()
        basket: list[tuple[str, bytes]] = []
        self._store(basket)  # nothing yet, but how many there will be
        begun = monotonic()
        for number, one in enumerate(usable, 1):
            if lost.is_set():
                raise Conflict("The job is no longer this clerk's.")
            if kept(one.sop_uid, self.key) in here:
                self.tally["done"] += 1
                self.tally["images"] += 1
                continue
            data = self._retrieved(pacs, one)
            if data is not None:
                self.tally["bytes"] += len(data)
                self._refuse_too_much(pacs)
                basket.append((f"instance {number}", data))
            if len(basket) >= TOGETHER or monotonic() - begun > TOGETHER_S:
                self._store(basket)
                begun = monotonic()
        self._store(basket)

    def _here(self) -> set[str]:
        """What has come since this was asked for: a clerk was killed after it had stored it."""
        with self.hold.database.reading() as session:
            query = (
                sa.select(Image.sop_uid)
                .join(Series, Series.id == Image.series_id)
                .join(Case, Case.id == Series.case_id)
                .where(
                    Case.study_uid == kept(self.wanted.study, self.key),
                    Image.created_at >= self.since,
                )
            )
            return set(session.scalars(query))

    def _retrieved(self, pacs: Pacs, one: Found) -> bytes | None:
        """An instance; None, and counted, where it is at fault itself."""
        waits = iter(WAITS_S)
        while True:
            try:
                return pacs.retrieve(one.study_uid, one.series_uid, one.sop_uid)
            except _OF_ONE as fault:
                self.refused[str(fault)] += 1
                self.tally["done"] += 1
                return None
            except PacsFault as fault:
                wait = next(waits, None)
                if not fault.passing or wait is None:
                    raise
                sleep(wait)

    def _refuse_too_much(self, pacs: Pacs) -> None:
        most = pacs.settings.max_study_mb
        if self.tally["bytes"] > most * 1e6:
            raise TooMuch(
                f"This is more than {most:g} MB, which is the most that is fetched at once. Ask "
                "for one series, or ask the administrator to raise max_study_mb of its entry."
            )

    def _store(self, basket: list[tuple[str, bytes]]) -> None:
        """What was fetched goes in as an upload does; the basket is emptied."""
        count = len(basket)
        parcel = asking.parcel(basket, limits(self.settings))
        basket.clear()
        with self.hold.database.transaction() as session:
            self.hold.progressed(session, self.tally["done"] + count, self.tally["total"])
            if count:
                receipt = Case.receive(
                    session,
                    parcel,
                    User.of_id(session, self.owner_id) if self.owner_id else None,
                    contrast_phase=self.wanted.contrast_phase,
                    pseudonym=self.wanted.pseudonym,
                    key=self.key,
                    actor=self.asked_by,
                    entry=Entry.at(self.settings, Door.PULL, self.wanted.pacs),
                )
        self.tally["done"] += count
        if count:
            self._count(receipt)

    def _count(self, receipt: Receipt) -> None:
        for one in receipt.accepted:
            self.tally["images"] += 1
            self.tally["known"] += one.known
            self.warnings |= dict.fromkeys(one.warnings)
        self.tally["marks"] += len(receipt.marks)
        for refusal in receipt.refused:
            self.refused[refusal.reason.removeprefix(f"{refusal.file}: ")] += 1

    def _go_on(self, why: AppError) -> bool:
        """Whether some of the lesions that are asked for lie on what is here: these are classified,
        and the others told why they are not."""
        with self.hold.database.transaction() as session:
            job = Job.of_clerk(session, self.hold.job_id, self.hold.clerk, self.hold.claim)
            return self._handed_on(session, job, why)

    def _handed_on(self, session: Session, job: Job, why: AppError) -> bool:
        if not self.wanted.then:
            return False
        items = self._items(session, why)
        if all(isinstance(item, RefusedItem) for item in items):
            return False
        self._hand_on(session, job, items, str(why))
        return True

    def _hand_on(self, session: Session, job: Job, items: list[Item], more: str = "") -> None:
        """Go on as a classification, unless objects mark more lesions than one call may ask for.

        Args:
            more: what else there is to say where it is not gone on with.
        """
        if len(items) > MOST:
            said = (
                f"{too_many(len(items))} Ask for fewer of them at a time, each by its instance "
                "and place; what was fetched until now is here."
            )
            job.fail(session, f"{said} {more}".strip())
            return
        job.hand_on(JobKind.CLASSIFICATION, asked_of(items), len(items))

    def _items(self, session: Session, why: AppError | None) -> list[Item]:
        """The lesions that are asked for; of what is not here, ``why``."""
        orders = [LesionOrder(**one) for one in json.loads(self.wanted.then)]
        items = [item for one in orders for item in one.items(session, self.key)]
        if why is None:
            return items
        return [RefusedItem.of(why) if is_absent(item) else item for item in items]

    def _finish(self) -> None:
        unusable = self.refused.most_common(MOST_TOLD)
        reasons = [{"reason": reason, "count": count} for reason, count in unusable]
        wanted = self.wanted
        with self.hold.database.transaction() as session:
            job = Job.of_clerk(session, self.hold.job_id, self.hold.clerk, self.hold.claim)
            at = place(session, wanted.study, wanted.open_series, wanted.open_instance, self.key)
            at = at or place(session, wanted.study, "", "", self.key)
            told = " ".join(reason for reason, _ in unusable)
            if at is None or not (self.tally["images"] or self.tally["marks"]):
                why = f"Nothing of it could be taken in. {told}".strip()
                if not self._handed_on(session, job, Unreadable(why)):
                    job.fail(session, why)
                return
            Event.record(session, self.asked_by, "study fetched", str(at.case_id),
                         pacs=wanted.pacs, images=self.tally["images"])  # fmt: skip
            if wanted.then:
                why = f"What was fetched could not all be used. {told}"
                items = self._items(session, Unreadable(why) if told else None)
                self._hand_on(session, job, items, why if told else "")
                return
            job.total = self.tally["total"]
            job.finish(
                session,
                {
                    "case": str(at.case_id),
                    "url": at.address,
                    "images": self.tally["images"],
                    "known": self.tally["known"],
                    "marks": self.tally["marks"],
                    "passed_over": self.tally["passed_over"],
                    "refused": reasons,
                    "warnings": list(self.warnings)[:MOST_TOLD],
                },
            )
