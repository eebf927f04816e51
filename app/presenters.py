"""What a template or script may see of a lesion: plain values, with the score covered or not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.errors import Forbidden, NotFound
from app.models.cases.case import Case, Image
from app.models.cases.lesion import Lesion, Reach
from app.models.cases.link import Link
from app.models.cases.marking import Mark, Marking
from app.models.cases.measure import Measure
from app.models.cases.newest import newest_first
from app.models.cases.prediction import Prediction
from app.models.cases.review import BASES, WORDS, Review, superseded
from app.models.checkpoint import Checkpoint
from app.models.correction import PhaseCorrection
from app.models.jobs.returned_object import ReturnedObject
from app.models.jobs.tried import TriedState
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look
from app.objects import said as words_of
from app.objects.said import By
from app.pacs.configured import PacsSettings
from app.responses import fragment
from ml.ground.counted import counted
from ml.images import greys, roi
from ml.lesion import LesionScheme
from ml.trust.answer import Said


@dataclass(frozen=True)
class Standing:
    """A lesion with everything that is said of it, for one person.

    ``predictions`` and ``reviews`` are all there are, the newest first; what may be *shown* while
    ``covered`` is less, and only the functions below decide it. ``measures`` are those that the
    person may see: where one's own class comes first, a colleague's are as suggestive as their
    class, and ``measures_covered`` counts them until it is given.
    """

    lesion: Lesion
    predictions: tuple[Prediction, ...]
    reviews: tuple[Review, ...]
    own: Review | None
    covered: bool
    measures: tuple[Measure, ...]
    measures_covered: int

    @classmethod
    def of(cls, request: Request, session: Session, user: User, lesion: Lesion) -> Standing:
        """One lesion's."""
        return cls.of_all(request, session, user, [lesion])[0]

    @classmethod
    def of_all(
        cls, request: Request, session: Session, user: User, lesions: Sequence[Lesion]
    ) -> list[Standing]:
        """Those of several lesions, in three queries however many they are."""
        ids = [lesion.id for lesion in lesions]
        predictions = newest_first(session, Prediction, ids, Prediction.checkpoint)
        reviews = newest_first(session, Review, ids, Review.by)
        kept = Measure.of_lesions(session, ids)
        first = request.app.state.settings.review_first
        made = []
        for lesion in lesions:
            given = reviews[lesion.id]
            replaced = superseded(given)
            own = next(
                (one for one in given if one.by_id == user.id and one.id not in replaced), None
            )
            seen = [one for one in kept[lesion.id] if not first or own or one.by_id == user.id]
            made.append(
                cls(
                    lesion=lesion,
                    predictions=tuple(predictions[lesion.id]),
                    reviews=tuple(given),
                    own=own,
                    covered=first and own is None and bool(predictions[lesion.id] or given),
                    measures=tuple(seen),
                    measures_covered=len(kept[lesion.id]) - len(seen),
                )
            )
        return made

    def said_by(self, session: Session, checkpoint: str) -> Prediction:
        """What a checkpoint said of it, for who asks for more of that.

        Raises:
            Forbidden: one's own class comes first.
            NotFound: no checkpoint of that name, or it said nothing of the lesion.
        """
        if self.covered:
            raise Forbidden(
                f"Lesion {self.lesion.number} has no class of yours yet, and yours comes first."
            )
        network = Checkpoint.require(session, checkpoint)
        for prediction in self.predictions:
            if prediction.checkpoint_id == network.id:
                return prediction
        raise NotFound(f"{network.name} has not classified this lesion.")

    @classmethod
    def asked(
        cls, request: Request, session: Session, user: User, lesion_id: uuid.UUID, checkpoint: str
    ) -> tuple[Lesion, Prediction]:
        """A lesion and what a checkpoint said of it, for a person who asks for more of that.

        Raises:
            NotFound: no such lesion, or that checkpoint said nothing of it.
            Forbidden: a blinded reading could be about its case, or one's own class comes first.
        """
        lesion = Lesion.require(session, lesion_id)
        Enrolment.refuse_case(session, user, lesion.case_id)
        return lesion, cls.of(request, session, user, lesion).said_by(session, checkpoint)

    @property
    def words(self) -> dict[str, str]:
        """Class key → words, by every scheme that scored the lesion."""
        words = dict(WORDS)
        for prediction in self.predictions:
            words |= {item.key: item.display for item in prediction.checkpoint.scheme.classes}
        return words

    @property
    def score_is_visible(self) -> bool:
        """Whether the person sees a network's score now."""
        return bool(self.predictions) and not self.covered

    @classmethod
    def is_score_known(cls, request: Request, session: Session, user: User, lesion: Lesion) -> bool:
        """Whether the person sees a network's score of the lesion now, or of one at its place, or
        their own program was told one of this image: where on it is not kept."""
        if Look.knows_score(session, user.id, lesion.image_id):
            return True
        alike = [lesion, *lesion.at_its_place(session)]
        return any(one.score_is_visible for one in cls.of_all(request, session, user, alike))

    def claims(self) -> list[dict[str, str]]:
        """Who calls the lesion what: the person's own class, the network's, then colleagues'.

        Others' claims come after one's own only, whether the network's or colleagues'.
        """
        words = self.words
        claims = []
        if self.own is not None:
            said = words.get(self.own.lesion_class, self.own.lesion_class)
            claims.append({"by": "own", "text": f"{said} (yours)"})
        if self.covered:
            return claims
        for newest in self.predictions[:1]:
            said = newest.checkpoint.scheme.display(newest.lesion_class)
            claims.append({"by": "network", "text": f"network: {said}"})
        replaced = superseded(self.reviews)
        for review in reversed(self.reviews):
            if review.id not in replaced and review is not self.own:
                said = words.get(review.lesion_class, review.lesion_class)
                claims.append({"by": "colleague", "text": f"{review.by.name}: {said}"})
        return claims


def said_of(scheme: LesionScheme, lesion_class: str, confidence: int) -> str:
    """A class and how sure of it, in words: "cyst, confidence 4"."""
    words = dict(WORDS) | {item.key: item.display for item in scheme.classes}
    return f"{words.get(lesion_class, lesion_class)}, confidence {confidence}"


@dataclass(frozen=True)
class Offered:
    """A class that can be answered, its words and the key that gives it."""

    key: str
    display: str
    hotkey: str


def review_choices(scheme: LesionScheme) -> list[Offered]:
    """What a reviewer may answer: the scheme's classes, other, cannot tell; keys 1, 2, …"""
    words = [(item.key, item.display) for item in scheme.classes]
    words += list(WORDS.items())
    return [Offered(key, display, str(number)) for number, (key, display) in enumerate(words, 1)]


def panel(
    request: Request, session: Session, user: User, lesion: Lesion, status: int = 200
) -> Response:
    """The lesion panel for a script that swaps it in; the lesion itself is in ``X-Lesion``."""
    standing = Standing.of(request, session, user, lesion)
    described = lesion_json(standing) | {"person": str(user.id)}
    return fragment(
        request,
        "lesions/_panel.html",
        status,
        {"x-lesion": json.dumps(described)},
        **panel_context(session, user, standing),
    )


def panel_context(session: Session, user: User, standing: Standing) -> dict[str, object]:
    """What ``lesions/_panel.html`` needs."""
    return {
        "lesion": lesion_panel(session, user, standing),
        "choices": review_choices(Checkpoint.scheme_for_review(session)),
        "bases": BASES,
    }


def lesion_json(standing: Standing) -> dict[str, object]:
    """What the viewer draws and lists: boxes in slice pixels, and a label that tells only what
    this person may know."""
    lesion = standing.lesion
    square = roi.square(lesion.box, lesion.image.spacing_mm)
    claims = standing.claims()
    label = f"Lesion {lesion.number}"
    if claims:
        label += ": " + ", ".join(claim["text"] for claim in claims)
    return {
        "id": str(lesion.id),
        "image_id": str(lesion.image_id),
        "number": lesion.number,
        "box": [lesion.x, lesion.y, lesion.width, lesion.height],
        "shape": lesion.shape,
        "square": [square.x, square.y, square.width, square.height],
        "covered": standing.covered and bool(standing.predictions),
        "label": label,
        "claims": claims,
    }


def measures_json(standing: Standing, user: User) -> list[dict[str, object]]:
    """The measures that the viewer draws: their points in slice pixels, and whose they are."""
    return [
        {
            "id": str(one.id),
            "image_id": str(one.image_id),
            "kind": one.kind,
            "points": [{"x": x, "y": y} for x, y in one.points],
            "by": one.by.name,
            "deletable": one.may_be_withdrawn_by(user),
        }
        for one in standing.measures
    ]


@dataclass(frozen=True)
class ShownMeasure:
    """A measure in words: what it says, whose it is, and whether the person may delete it."""

    id: uuid.UUID
    image_id: uuid.UUID
    says: str
    by: str
    at: datetime
    deletable: bool


@dataclass(frozen=True)
class ShownRoi:
    """Address of the ROI as the network sees it, the window in words, and the network's name."""

    url: str
    window: str
    network: str | None


@dataclass(frozen=True)
class Probability:
    """How probable a network calls a class, from 0 to 1."""

    key: str
    display: str
    p: float


@dataclass(frozen=True)
class ShownOpinion:
    """What the measurements say, and whether it is the network's class."""

    display: str
    agrees: bool
    probabilities: tuple[Probability, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ShownPrediction:
    """What a network said.

    Attributes:
        word: ``probability`` where it is calibrated for such images, else ``score``.
        left_open: the classes that cannot be excluded, in words; empty where that is not known.
        unlike: what makes the ROI unlike those that it was trained on; empty where it is not, or
            where that is not known.
        opinion: of the simpler model; None where there is none.
        window_ends: what has to be known of the numbers in ``unlike`` and ``opinion``; empty where
            nothing has.
        agreement: how many networks of an ensemble name the class, and what they give it; empty
            where one network answers.
        reasons: why one of these is not there.
        phase_corrected: a correction that came after it.
    """

    checkpoint: str
    checkpoint_url: str
    training_kind: str
    lesion_class: str
    display: str
    limits: str
    word: str
    left_open: str
    unlike: tuple[str, ...]
    opinion: ShownOpinion | None
    window_ends: str
    agreement: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    phase_corrected: PhaseCorrection | None
    probabilities: tuple[Probability, ...]


@dataclass(frozen=True)
class ShownReview:
    """A person's class, and whether they saw a score when they gave it."""

    id: uuid.UUID
    by: str
    lesion_class: str
    display: str
    confidence: int
    basis: str
    basis_key: str
    note: str
    at: datetime
    score: str
    superseded: bool


@dataclass(frozen=True)
class Panel:
    """Everything that the lesion panel shows; predictions are left out while covered."""

    id: uuid.UUID
    case_id: uuid.UUID
    number: int
    person: uuid.UUID
    roi: ShownRoi
    phantom: bool
    diameter_mm: float | None
    diameter_px: float
    marked_by: str
    reach: Reach
    kept_because: str
    warnings: tuple[str, ...]
    covered: bool
    predictions: tuple[ShownPrediction, ...]
    has_score: bool
    reviews: tuple[ShownReview, ...]
    measures: tuple[ShownMeasure, ...]
    measures_json: list[dict[str, object]]
    measures_covered: int
    after: uuid.UUID | str
    own_review: ShownReview | None


def lesion_panel(session: Session, user: User, standing: Standing) -> Panel:
    """What a person's panel of a lesion shows."""
    lesion = standing.lesion
    replaced = superseded(standing.reviews)
    # other people's classes are as suggestive as the network's: they come after one's own, too
    shown = [item for item in standing.reviews if not standing.covered or item.by_id == user.id]
    corrections = PhaseCorrection.of_case(session, lesion.case_id)
    scores = () if standing.covered else standing.predictions
    own = standing.own
    reach = lesion.reach_of(session, user)
    return Panel(
        id=lesion.id,
        case_id=lesion.case_id,
        number=lesion.number,
        person=user.id,
        roi=_roi(session, standing),
        phantom=lesion.image.phantom,
        diameter_mm=lesion.diameter_mm,
        diameter_px=lesion.diameter_px,
        marked_by=marked_by(session, lesion),
        reach=reach,
        kept_because=reach.why if lesion.marked_by_id == user.id else "",
        warnings=tuple(lesion.image.warnings),
        covered=standing.covered,
        predictions=tuple(_prediction(item, lesion.image, corrections) for item in scores),
        has_score=bool(standing.predictions),
        reviews=tuple(_review(item, standing, replaced) for item in shown),
        measures=tuple(
            ShownMeasure(
                one.id,
                one.image_id,
                ", ".join(one.says),
                one.by.name,
                one.created_at,
                one.may_be_withdrawn_by(user),
            )
            for one in standing.measures
        ),
        measures_json=measures_json(standing, user),
        measures_covered=standing.measures_covered,
        after=own.id if own else "",
        own_review=None if own is None else _review(own, standing, replaced),
    )


def marked_by(session: Session, lesion: Lesion) -> str:
    """Who or what marked a lesion, and what else marks the same place."""
    marks = [mark.words for mark in Mark.of_lesion(session, lesion.id)]
    if lesion.marked_by is not None:
        return "; also by ".join([lesion.marked_by.name, *marks])
    return "; also by ".join(marks) or "a DICOM object"


def marking_told(marking: Marking) -> dict[str, object]:
    """An object that marks lesions of a case: what it is, when it came, what it came to."""
    lesions = [mark.lesion for mark in marking.marks if mark.lesion is not None]
    numbers = sorted({lesion.number for lesion in lesions if lesion.withdrawn_at is None})
    gone = sorted(
        {lesion.number for lesion in lesions if lesion.withdrawn_at is not None} - {*numbers}
    )
    return {
        "kind": marking.kind,
        "at": marking.created_at,
        "by": marking.sent_by,
        "lesions": numbers,
        "withdrawn": gone,
        "waiting": len(marking.waiting),
        "reasons": [
            {"name": mark.label or f"region {mark.number}", "reason": mark.reason}
            for mark in marking.marks
            if mark.reason
        ],
    }


def _roi(session: Session, standing: Standing) -> ShownRoi:
    lesion = standing.lesion
    network = Prediction.network_of(session, standing.predictions)
    address = f"/lesions/{lesion.id}/roi.png"
    return ShownRoi(
        # the address changes with the window, so that no kept picture of another one is shown
        url=f"{address}?checkpoint={network.id}" if network else address,
        window=window_told(network, lesion.image),
        network=network.name if network else None,
    )


def window_told(network: Checkpoint | None, image: Image) -> str:
    """The window, or the grey values, at which a network sees an image."""
    if image.calibrated and network is not None:
        return network.window_words
    if image.calibrated:
        return roi.window_words(roi.DEFAULT_WINDOW_HU)
    return greys.words(None if network is None else network.grey_range_of(image.dtype))


def window_ends(network: Checkpoint, image: Image) -> str:
    """What has to be known of numbers that are compared with those of training lesions; "" where
    no grey lies beyond what the network sees."""
    if not image.calibrated and network.grey_range_of(image.dtype) is None:
        return ""
    window = f"{'the window of ' if image.calibrated else ''}{window_told(network, image)}"
    return f"Measurements are compared within {window}: what lies beyond counts as the end."


def _prediction(
    prediction: Prediction, image: Image, corrections: Sequence[PhaseCorrection]
) -> ShownPrediction:
    checkpoint = prediction.checkpoint
    scheme, said = checkpoint.scheme, prediction.answer
    return ShownPrediction(
        checkpoint=checkpoint.name,
        checkpoint_url=f"/checkpoints/{checkpoint.name}",
        training_kind=checkpoint.training_kind,
        lesion_class=prediction.lesion_class,
        display=scheme.display(prediction.lesion_class),
        limits=checkpoint.limits_of(calibrated=said.calibrated),
        word=said.word,
        left_open="" if said.prediction_set is None else said.prediction_set.words(scheme),
        unlike=said.unlike_training.reasons
        if said.unlike_training is not None and said.unlike_training.flag
        else (),
        opinion=_opinion(said, scheme),
        window_ends=window_ends(checkpoint, image),
        agreement=_agreement(said, scheme),
        reasons=said.reasons,
        warnings=tuple(prediction.warnings),
        phase_corrected=next((one for one in corrections if one.at > prediction.created_at), None),
        probabilities=_bars(said.probabilities, scheme),
    )


def _bars(probabilities: Mapping[str, float], scheme: LesionScheme) -> tuple[Probability, ...]:
    return tuple(
        Probability(key, scheme.display(key), float(probabilities[key]))
        for key in sorted(scheme.keys, key=lambda key: -probabilities[key])
    )


def _opinion(said: Said, scheme: LesionScheme) -> ShownOpinion | None:
    second = said.second_opinion
    if second is None:
        return None
    return ShownOpinion(
        display=scheme.display(second.named),
        agrees=second.named == said.lesion_class,
        probabilities=_bars(second.probabilities, scheme),
        reasons=second.reasons,
    )


def _agreement(said: Said, scheme: LesionScheme) -> str:
    found = said.agreement
    if found is None:
        return ""
    ends = [f"{one:.2f}" for one in (found.lowest, found.highest)]
    given = ends[0] if ends[0] == ends[1] else " to ".join(ends)
    return f"{found.words}; they give {scheme.display(said.lesion_class)} {given}"


def _review(review: Review, standing: Standing, replaced: set[uuid.UUID]) -> ShownReview:
    covered = "score covered" if standing.predictions else "no score"
    return ShownReview(
        id=review.id,
        by=review.by.name,
        lesion_class=review.lesion_class,
        display=standing.words.get(review.lesion_class, review.lesion_class),
        confidence=review.confidence,
        basis=BASES[review.basis],
        basis_key=review.basis,
        note=review.note,
        at=review.created_at,
        score="score visible" if review.score_visible else covered,
        superseded=review.id in replaced,
    )


@dataclass(frozen=True)
class ReturnsTold:
    """What a case page says of the answer's way to the PACS.

    Attributes:
        lines: how many objects stand where, the worst first: level, words, why.
        possible: whether an answer can be sent at all.
        hint: what is to be done first, or why it cannot be sent.
    """

    lines: tuple[tuple[str, str, str], ...]
    possible: bool
    hint: str


_RETURNED = {
    TriedState.GIVEN_UP: ("danger", "not sent, given up"),
    TriedState.WAITING: ("warn", "on the way"),
    TriedState.SENT: ("ok", "in the PACS"),
}


def returns_told(
    session: Session, takers: Sequence[PacsSettings], user: User, case: Case
) -> ReturnsTold | None:
    """Of a case whose link to the PACS is kept; None of any other.

    Args:
        takers: the configured PACS that take results.
    """
    if not Link.is_kept(session, case.id):
        return None
    rows = ReturnedObject.of_case(session, case.id)
    lines = []
    sent = [row for row in rows if row.state == TriedState.SENT]
    said = {(row.said_by, *row.rows) for row in sent}
    gone = {told for told in said if not _stands(session, case, *told)}
    old = [row for row in sent if (row.said_by, *row.rows) in gone]
    for state, (level, words) in _RETURNED.items():
        some = [row for row in rows if row.state == state and row not in old]
        if some:
            lines.append((level, f"{_objects(some)} {words} ({_pacs(some)})", some[0].error or ""))
    if old:
        told = f"{_objects(old)} in the PACS ({_pacs(old)}) {'say' if len(old) > 1 else 'says'}"
        lines.append(("danger", f"{told} what was corrected or withdrawn since", _OLD))
    lesions = Lesion.of_case(session, case.id)
    if not takers:
        hint = "No configured PACS takes results; an administrator can allow it."
    elif any(Review.current(session, one.id, user.id) is None for one in lesions):
        hint = "Every lesion needs a class of yours first."
    else:
        hint = _staying(session, lesions, user)
    return ReturnsTold(tuple(lines), bool(takers and lesions), hint)


def _stands(session: Session, case: Case, said_by: str, *rows: str) -> bool:
    """Whether what objects of these rows say is said still."""
    ids = [uuid.UUID(one) for one in rows]
    return words_of.of_rows(session, case, By(said_by), ids) is not None


_OLD = (
    "Send the answer of today, and have the earlier one rejected in the PACS: nothing is deleted "
    "there from here."
)


def _objects(rows: Sequence[ReturnedObject]) -> str:
    return counted(len(rows), "object")


def _pacs(rows: Sequence[ReturnedObject]) -> str:
    return ", ".join(dict.fromkeys(row.pacs for row in rows))


def _staying(session: Session, lesions: Sequence[Lesion], user: User) -> str:
    """That this person's measures are in no object that is sent; nothing without any."""
    kept = Measure.of_lesions(session, [one.id for one in lesions]).values()
    own = sum(measure.by_id == user.id for some in kept for measure in some)
    if not own:
        return ""
    return f"What is sent tells classes; {counted(own, 'measure')} of yours will stay here."
