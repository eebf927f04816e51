"""The site's own figures beside those of the checkpoint's card.

Nothing is claimed where two intervals overlap; where they do not, that the figures differ is said,
and never why: other patients, other scanners and other reviewers differ as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.models.checkpoint import Checkpoint
from app.models.monitoring.local import Local
from app.models.monitoring.months import Months
from ml.checkpoints import checkpoint as files
from ml.checkpoints.metrics import HeldOutScore
from ml.lesion import LesionScheme
from ml.statistics.figure import Figure
from ml.trust.calibration import Calibration, Reliability
from ml.trust.conformal import Coverage
from ml.trust.novelty import NoveltyRecord

_HELD_OUT = "held-out patients, on whom nothing was fitted"


class Verdict(StrEnum):
    """What two intervals say."""

    LOWER = "lower"
    HIGHER = "higher"
    OVERLAP = "overlap"
    UNKNOWN = "not_compared"

    @property
    def words(self) -> str:
        """For people."""
        return _VERDICTS[self]


_VERDICTS = {
    Verdict.LOWER: "lower here",
    Verdict.HIGHER: "higher here",
    Verdict.OVERLAP: "intervals overlap",
    Verdict.UNKNOWN: "not compared",
}


@dataclass(frozen=True)
class Beside:
    """One figure here and in the card.

    Attributes:
        measure: what it is, for people; "" in the row of the same measure's next class.
        of: which class or level; "" where it is of all.
        card: None where the checkpoint does not have it.
        source: on which lesions the card's was measured.
        share: whether it is one, from 0 to 1.
    """

    measure: str
    of: str
    here: Figure
    card: Figure | None
    source: str
    share: bool
    verdict: Verdict


def beside(checkpoint: Checkpoint, months: Months, local: Local) -> tuple[Beside, ...]:
    """Every figure that both could have."""
    return tuple(_rows(checkpoint, months, local))


def _rows(checkpoint: Checkpoint, months: Months, local: Local) -> Iterator[Beside]:
    file, scheme, test = checkpoint.file, checkpoint.scheme, local.test
    score, source = _score(file)
    yield _row(
        "balanced accuracy",
        "",
        test.balanced_accuracy,
        None if score is None else score.balanced_accuracy,
        source,
    )
    for measure, here, card in (
        ("sensitivity", test.sensitivity, None if score is None else score.sensitivity),
        ("specificity", test.specificity, None if score is None else score.specificity),
        ("AUC", test.auc, None if score is None else score.auc),
    ):
        for key, figure in here.items():
            yield _row(
                measure, scheme.display(key), figure, (card or {}).get(key), source,
                share=measure != "AUC",
            )  # fmt: skip
    fitted = file.trust.calibration if file.trust is not None else None
    judged, source = _reliability(fitted if isinstance(fitted, Calibration) else None)
    for measure, figure, told in (
        ("calibration slope", test.believed.slope, None if judged is None else judged.slope),
        ("calibration error", test.believed.error, None if judged is None else judged.error),
        ("Brier score", test.believed.brier, None if judged is None else judged.brier),
    ):
        yield _row(measure, "", figure, told, source, share=False)
    for covered in test.coverage:
        yield from _coverage(checkpoint, scheme, covered)
    novelty = file.trust.novelty if file.trust is not None else None
    yield _row(
        "unlike the training ROIs", "", months.whole.unlike,
        novelty.false_alarms if isinstance(novelty, NoveltyRecord) else None,
        "held-out lesions, by a threshold that they had no part in",
    )  # fmt: skip


def _row(
    measure: str, of: str, here: Figure, card: Figure | None, source: str, *, share: bool = True
) -> Beside:
    return Beside(
        measure, of, here, card, source if card is not None else "", share, _verdict(here, card)
    )


def _verdict(here: Figure, card: Figure | None) -> Verdict:
    own, theirs = here.ends, None if card is None else card.ends
    if own is None or theirs is None:
        return Verdict.UNKNOWN
    if own[1] < theirs[0]:
        return Verdict.LOWER
    return Verdict.HIGHER if own[0] > theirs[1] else Verdict.OVERLAP


def _score(file: files.Checkpoint) -> tuple[HeldOutScore | None, str]:
    for told, source in (
        (file.held_out, "held-out patients, this very network"),
        (file.out_of_fold, "cross-validation, networks of the same training"),
    ):
        if told is not None:
            return told, f"{source}; {told.n_lesions} lesions, {told.n_patients} patients"
    return None, ""


def _reliability(fitted: Calibration | None) -> tuple[Reliability | None, str]:
    if fitted is None:
        return None, ""
    told, source = fitted.held_out, _HELD_OUT
    if told is None:
        told, source = fitted.after, "out of fold"
    return told, f"{source}; {told.n_lesions} lesions, {told.n_patients} patients"


def _coverage(checkpoint: Checkpoint, scheme: LesionScheme, here: Coverage) -> Iterator[Beside]:
    trust = checkpoint.file.trust
    told: list[tuple[Coverage, str]] = []
    if trust is not None:
        told += [(one, _HELD_OUT) for one in trust.held_out_coverage]
        told += [(one, "out of fold") for one in trust.coverage]
    card, source = next(((one, of) for one, of in told if one.level == here.level), (None, ""))
    name = f"coverage of sets at {100 * here.level:g} %"
    yield _row(name, "", here.overall, None if card is None else card.overall, source)
    classes: Mapping[str, Figure] = card.by_class if card is not None else {}
    for key, figure in here.by_class.items():
        yield _row(name, scheme.display(key), figure, classes.get(key), source)
