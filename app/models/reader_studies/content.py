"""The content of a protocol: what a study asks, of which images, in which order, and the truth."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.models.reader_studies.design import EARLIER_ANALYSIS, Design
from app.models.reader_studies.intent import UNSAID
from app.models.reader_studies.planned import Sources
from app.models.reader_studies.questions import CALLED_SYNTHETIC, Choices
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.stored import Json, Stored, read, unreadable, write
from ml.images.ct_slice import ImageKind
from ml.lesion import LesionScheme, SchemeError

FORMAT = 2
"""The format that is written. Format 1, before 0.1.0, had neither design nor audit; it is read."""

_WHAT = "The protocol of the study"
_TEXTS = ("margin", "analysis", "instructions", "ethics_reference")
_CONSENT = ("text", "version", "date")
_BEFORE: Json = {
    "exclude_read": False,
    "exclude_seen": False,
    "redrawn": False,
    "leave_out_unsent": None,
    "least_ms": 0,
    "least_off": None,
    "least_ratings": None,
}
"""Choices that came later, as they were before."""
_BEFORE_FORMAT_2 = replace(Design(), **_BEFORE, intent=UNSAID, analysis=EARLIER_ANALYSIS)


@dataclass(frozen=True)
class FrozenImage(Stored):
    """An image with its truth; the checkpoint and seed of a synthetic one, the patient of a real.

    ``sha256`` is of the PNG that readers get. ``patient`` stands for a patient in this study only.
    """

    sha256: str
    truth: Source
    lesion_class: str
    patient: str | None
    checkpoint: uuid.UUID | None
    seed: int | None


@dataclass(frozen=True)
class Order(Stored):
    """What every reader's order is drawn from, and how."""

    seed: int
    rule: str


@dataclass(frozen=True)
class Display(Stored):
    """How images are shown: side in CSS pixels, or in mm on a calibrated screen."""

    encoding: str
    roi_px: int
    shown_css_px: int | None
    interpolation: str
    shown_mm: float | None = None


@dataclass(frozen=True)
class ProtocolContent(Stored):
    """Everything that a protocol freezes.

    Attributes:
        design: how it is read and judged, as amended.
        pairs: the SHA-256 of two images that are shown side by side, the synthetic one first.
        audit: the record of the leak audit; None where there was none.
        notes: an amendment's.
    """

    study: uuid.UUID
    title: str
    scheme: LesionScheme
    kind: ImageKind
    window_hu: tuple[float, float]
    images: tuple[FrozenImage, ...]
    order: Order
    questions: Choices
    display: Display
    design: Design
    called_synthetic_from_rating: int = CALLED_SYNTHETIC
    sources: Sources = field(default_factory=Sources)
    practice: tuple[FrozenImage, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    audit: Json | None = None
    notes: str | None = None

    @classmethod
    def from_json(cls, found: Any) -> ProtocolContent:
        """What a protocol of any format holds.

        Raises:
            Damaged: a format that is not known here, a missing or unknown key, a wrong value.
        """
        if not isinstance(found, Mapping):
            raise unreadable(_WHAT, "it is no JSON object")
        form = found.get("format")
        if form not in (1, FORMAT):
            told = repr(form)[:20] if "format" in found else "none"
            raise unreadable(_WHAT, f"its format is {told}, and 1 and {FORMAT} are known here")
        rest = {key: value for key, value in found.items() if key != "format"}
        try:
            rest["scheme"] = LesionScheme.from_dict(rest.get("scheme"))
        except SchemeError as error:
            raise unreadable(_WHAT, str(error).rstrip(".")) from None
        with_design = _of_format_1(rest) if form == 1 else _of_format_2(rest)
        return read(cls, with_design, _WHAT)

    def to_json(self) -> Json:
        """The JSON that is hashed and kept, in the present format."""
        found = write(self)
        if self.notes is None:
            del found["notes"]
        return {
            **found,
            "format": FORMAT,
            "scheme": self.scheme.to_dict(),
            **self.design.content(),
        }


def _of_format_1(found: Mapping[str, object]) -> Mapping[str, object]:
    """Its ``analysis`` told of ratings, unless an amendment put a text in its place.

    No design stood in it, and what is amended of one stands beside the rest.
    """
    own = ("analysis", "margin", "intent")
    rest = {key: value for key, value in found.items() if key not in own}
    told, design = found.get("analysis"), _BEFORE_FORMAT_2
    if isinstance(told, str):
        design = replace(design, analysis=told)
    elif isinstance(told, Mapping) and "called_synthetic_from_rating" in told:
        rest["called_synthetic_from_rating"] = told["called_synthetic_from_rating"]
    named = {key: found[key] for key in ("intent", "margin") if key in found}
    return {**rest, "design": {**write(design), **named}}


def _of_format_2(found: Mapping[str, object]) -> Mapping[str, object]:
    """Its design stands in several keys; choices that came later are as they were before.

    Before there was an intent none was named.
    """
    consent, choices = found.get("consent"), found.get("design")
    if not isinstance(choices, Mapping):
        raise unreadable(_WHAT, "design is missing")
    if not isinstance(consent, Mapping) or set(consent) != set(_CONSENT):
        raise unreadable(_WHAT, f"consent has other keys than {', '.join(_CONSENT)}")
    for key in _TEXTS:
        if key not in found:
            raise unreadable(_WHAT, f"{key} is missing")
    design = {
        **_BEFORE,
        **choices,
        "intent": found.get("intent", write(UNSAID)),
        **{key: found[key] for key in _TEXTS},
        "consent": consent["text"],
        "consent_version": consent["version"],
        "consent_date": consent["date"],
    }
    rest = {key: value for key, value in found.items() if key not in (*_TEXTS, "intent", "consent")}
    return {**rest, "design": design}
