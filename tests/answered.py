"""Reader studies that were read: answers written straight into the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import now
from app.models import ReaderStudy, Reading, Stimulus, Trial, Unblinding, User
from app.models.reader_studies.delivery import Delivery
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.unblinding import SHARED_WORD, WORD

Given = dict[str, Any]
Answering = Callable[[Stimulus, int], Given | None]
"""What a simulated reader does with an image at a position; None leaves it unanswered."""


def enrolment_of(session: Session, study: ReaderStudy, number: int) -> Enrolment:
    return session.scalars(
        sa.select(Enrolment).where(Enrolment.study_id == study.id, Enrolment.number == number)
    ).one()


def trials_of(session: Session, enrolment: Enrolment) -> list[Trial]:
    """A reader's trials in their order."""
    return list(
        session.scalars(
            sa.select(Trial).where(Trial.enrolment_id == enrolment.id).order_by(Trial.position)
        )
    )


def answer(
    session: Session,
    study: ReaderStudy,
    number: int,
    answering: Answering,
    begun: datetime | None = None,
) -> None:
    """Answer the trials of the study's reader ``number`` as ``answering`` says.

    ``begun`` is when the reader came; without it, an hour ago.
    """
    enrolment = enrolment_of(session, study, number)
    begun = begun or now() - timedelta(hours=1)
    for trial in trials_of(session, enrolment):
        given = answering(trial.stimulus, trial.position)
        if given is not None:
            add(session, trial, answered_at=begun + timedelta(seconds=9 * trial.position), **given)
    session.flush()


def add(session: Session, trial: Trial, *, sent: bool = True, **given: Any) -> Reading:
    """One Reading of a trial, whose picture was sent before unless said."""
    fields: Given = {
        "lesion_class": trial.stimulus.lesion_class,
        "rating": 4,
        "active_ms": 4000,
        "hidden_ms": 100,
        "idle_ms": 0,
        "changes": 0,
        "revision": 1,
        "protocol_version": 1,
        **given,
    }
    reading = Reading(
        trial_id=trial.id,
        enrolment_id=trial.enrolment_id,
        idempotency_key=f"{trial.id} {fields['revision']}",
        **fields,
    )
    session.add(reading)
    session.flush()
    if sent:
        spent = reading.active_ms + reading.hidden_ms + reading.idle_ms
        begun = reading.answered_at - timedelta(milliseconds=spent)
        Delivery.keep(session, {trial.id: begun - timedelta(seconds=1)})
    return reading


def repeat(session: Session, study: ReaderStudy, number: int, count: int, **given: Any) -> None:
    """Show the first ``count`` images of a reader again at the end, answered with ``given``."""
    enrolment = enrolment_of(session, study, number)
    trials = trials_of(session, enrolment)
    for place, trial in enumerate(trials[:count], 1):
        again = Trial(
            enrolment_id=enrolment.id,
            stimulus_id=trial.stimulus_id,
            position=len(trials) + place,
            kind="repeat",
            repeats_id=trial.id,
        )
        session.add(again)
        session.flush()
        add(session, again, **given)


def guessing(seed: int, skill: float = 0.0, classes: tuple[str, ...] = ()) -> Answering:
    """A reader whose ratings lie ``skill`` standard deviations higher on synthetic images."""
    rng = np.random.default_rng(seed)

    def answering(stimulus: Stimulus, position: int) -> Given:
        seen = rng.standard_normal() + skill * (stimulus.truth == Source.SYNTHETIC)
        rating = int(np.searchsorted([-1.2, -0.5, 0.0, 0.5, 1.2], seen)) + 1
        named = stimulus.lesion_class
        if classes and rng.random() < 0.35:
            named = str(rng.choice(classes))
        return {
            "rating": rating,
            "lesion_class": named,
            "class_confidence": int(rng.integers(1, 6)),
            "reasons": ["texture", "edge"][: int(rng.integers(0, 3))] if rating > 3 else [],
            "active_ms": int(rng.integers(1500, 9000)),
        }

    return answering


def unblind(session: Session, study: ReaderStudy, by: User) -> Unblinding:
    """Close a study, also where open ones show its images."""
    done = "the reading is done"
    return study.unblind(session, by, reason=done, typed=WORD, shared=SHARED_WORD)


def by_reader(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Reader code → their part of a kept analysis."""
    return {one["reader"]: one for one in content["result"]["readers"]}


def lines(text: str) -> Iterator[str]:
    yield from (line for line in text.splitlines() if line)
