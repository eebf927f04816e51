"""Steps of the wizard: what is typed at each, as it is typed, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from app.errors import Unreadable
from app.models.people.user import User
from app.models.reader_studies import graded
from app.models.reader_studies.design import DEBRIEFING, DESIGNS, Design, SecondImages, telling
from app.models.reader_studies.intent import Intent, Primary, of_missing, of_multiplicity
from app.models.reader_studies.task import Task
from app.models.reader_studies.typed import number, per_class, said, seeds_of, whole
from app.models.reader_studies.wish import Wish
from ml.lesion import LesionScheme
from ml.readers.hypothesis import Measure, Missing, Multiplicity


class Step(StrEnum):
    """A step: the end of its address."""

    DESIGN = "design"
    IMAGES = "images"
    READING = "reading"
    CONDUCT = "conduct"
    CHECK = "check"

    @property
    def title(self) -> str:  # type: ignore[override]
        """Its heading."""
        return STEPS[self]


STEPS = {
    Step.DESIGN: "Design",
    Step.IMAGES: "Images",
    Step.READING: "Reading",
    Step.CONDUCT: "Conduct and analysis",
    Step.CHECK: "Check",
}
"""Step → title, in their order."""

Text = Annotated[str, Field(max_length=20_000)]
Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=500)]

Fields = Mapping[str, object]
"""Names of fields → what was typed: a text, or a list of names."""

_DEFAULT = Design()
GRADED = graded.said(graded.QUESTIONS)


class DesignStep(BaseModel):
    """The title, and where the choices come from."""

    title: Text = ""
    preset: Text = "balanced"


class ImagesStep(BaseModel):
    """Which images, and what readers must not know of them."""

    kind: Text = ""
    scheme: Text = ""
    versions: Names = []
    real: Text = "10"
    synthetic: Text = "10"
    generators: Names = []
    chosen: Text = ""
    without: Names = []
    exclude_own: Text = "1"
    exclude_read: Text = "1"
    exclude_seen: Text = "1"
    redrawn: Text = ""
    exclude_near: Text = ""
    near_limit: Text = ""
    seed: Text = ""


class ReadingStep(BaseModel):
    """What is asked of each image, and how it is shown."""

    graded: Text = GRADED
    lesion_class: Text = "1"
    class_confidence: Text = ""
    reasons: Text = ""
    practice: Text = "0"
    repeats: Text = "0"
    repeat_distance: Text = str(_DEFAULT.repeat_distance)
    break_every: Text = "0"
    second_images: Text = _DEFAULT.second_images
    tell_prevalence: Text = ""
    back: Text = ""
    interpolation: Text = _DEFAULT.interpolation
    size_mm: Text = ""
    window: Text = ""
    zoom: Text = ""


class ConductStep(BaseModel):
    """The texts that readers see, and how the answers are judged."""

    debriefing: Text = DEBRIEFING
    debriefing_confirmed: Text = ""
    instructions: Text = _DEFAULT.instructions
    consent: Text = _DEFAULT.consent
    consent_version: Text = _DEFAULT.consent_version
    consent_date: Text = ""
    ethics_reference: Text = ""
    primary: Text = Primary().key
    margin: Text = "0.10"
    margin_reason: Text = ""
    multiplicity: Text = Multiplicity.HOLM
    missing: Text = Missing.ALL
    least_ms: Text = str(_DEFAULT.least_ms)
    least_off: Text = "10"
    least_ratings: Text = "3"
    analysis: Text = _DEFAULT.analysis


class CheckStep(BaseModel):
    """Nothing is typed at the last step."""


FORMS: dict[Step, type[BaseModel]] = {
    Step.DESIGN: DesignStep,
    Step.IMAGES: ImagesStep,
    Step.READING: ReadingStep,
    Step.CONDUCT: ConductStep,
    Step.CHECK: CheckStep,
}
"""Step → its fields."""

OF_PRESET = (
    "real", "synthetic", "exclude_near", "lesion_class", "class_confidence", "reasons", "practice",
    "repeats", "repeat_distance", "break_every", "size_mm",
)  # fmt: skip
"""The fields that a preset fills in."""


class Typed(DesignStep, ImagesStep, ReadingStep, ConductStep):
    """All of them; ``applied`` is the preset that was filled in last."""

    applied: Text = ""

    @classmethod
    def of(cls, stored: Mapping[str, object]) -> Typed:
        """From what is stored; fields of another version are left out."""
        return cls.model_validate(
            {key: value for key, value in stored.items() if key in cls.model_fields}
        )

    @property
    def task(self) -> Task:
        """What a reader does with what a trial shows: as the preset has it."""
        chosen = DESIGNS.get(self.preset)
        return chosen.design.task if chosen else Task.ORIGIN

    @property
    def unaware(self) -> bool:
        """Whether readers are not told at first: as the preset has it."""
        chosen = DESIGNS.get(self.preset)
        return bool(chosen and chosen.design.unaware)

    @property
    def measure(self) -> Measure:
        """What a hypothesis of the study speaks of: as the preset has it."""
        chosen = DESIGNS.get(self.preset)
        return chosen.design.measure if chosen else self.task.measure

    def design(self) -> Design:
        """How the study is read.

        Raises:
            Unreadable: a field that should be a number is none, or a hypothesis, rule or plan that
                there is not.
        """
        return Design(
            preset=self.preset if self.preset in DESIGNS else "own",
            task=self.task,
            unaware=self.unaware,
            second_images=_second(self.second_images),
            debriefing=self.debriefing if self.unaware else "",
            debriefing_confirmed=yes(self.debriefing_confirmed),
            graded=graded.typed(self.graded) if self.task is Task.REALISM else (),
            lesion_class=yes(self.lesion_class),
            class_confidence=yes(self.class_confidence),
            reasons=yes(self.reasons),
            practice=0
            if self.unaware or self.task is Task.PREFERENCE
            else whole(self.practice, "the practice images"),
            repeats=0 if self.unaware else whole(self.repeats, "the repeats"),
            repeat_distance=whole(self.repeat_distance, "the distance of repeats"),
            break_every=whole(self.break_every, "the trials between breaks"),
            tell_prevalence=yes(self.tell_prevalence) and not (self.task.is_paired or self.unaware),
            interpolation=self.interpolation,
            size_mm=number(self.size_mm, "the image size") if self.size_mm.strip() else None,
            window=yes(self.window),
            zoom=yes(self.zoom),
            back=yes(self.back),
            exclude_own=yes(self.exclude_own),
            exclude_read=yes(self.exclude_read),
            exclude_seen=yes(self.exclude_seen),
            redrawn=yes(self.redrawn),
            exclude_near=yes(self.exclude_near),
            near_limit=number(self.near_limit, "the limit") if self.near_limit.strip() else None,
            intent=Intent(
                Primary.typed(self.primary),
                self.margin_reason,
                of_multiplicity(self.multiplicity),
                of_missing(self.missing),
            ),
            margin=number(self.margin, "the margin"),
            least_ms=whole(self.least_ms, "the least time of an answer in ms"),
            least_off=number(self.least_off, "the answers off the commonest rating") / 100,
            least_ratings=whole(self.least_ratings, "the ratings in use"),
            analysis=self.analysis,
            instructions=self.instructions,
            consent=self.consent,
            consent_version=self.consent_version,
            consent_date=self.consent_date,
            ethics_reference=self.ethics_reference,
        )

    def wish(self, scheme: LesionScheme, without: Sequence[User], design: Design) -> Wish:
        """What is asked for, under a scheme and a design; ``without`` are the people named.

        Raises:
            Unreadable: a number that is none.
        """
        return Wish(
            title=self.title.strip() or "untitled",
            scheme=scheme,
            kind=self.kind or None,
            real=per_class(self._real, "real images", scheme),
            synthetic=per_class(self.synthetic, "synthetic images", scheme),
            generators=self.generators,
            chosen=seeds_of(self.chosen),
            versions=self.versions,
            seed=whole(self.seed, "the seed") if self.seed.strip() else None,
            without_lesions_of=without,
            design=design,
        )

    @property
    def _real(self) -> str:
        """Of pairs one number is asked: each has an image of both sources, or no real one."""
        if not self.task.shows_real:
            return "0"
        return self.synthetic if self.task is Task.CHOICE else self.real


def _second(text: str) -> SecondImages:
    if text not in set(SecondImages):
        raise Unreadable(f"Say what the second part shows: {', '.join(SecondImages)}.")
    return SecondImages(text)


def yes(text: str) -> bool:
    """Whether a box is ticked."""
    return text == "1"


def filled_by(preset: str, scheme: LesionScheme | None) -> dict[str, str]:
    """The fields as a preset has them, by the key of ``DESIGNS``."""
    chosen = DESIGNS[preset]
    design = chosen.design

    def ticked(value: bool) -> str:
        return "1" if value else ""

    return {
        "real": said(chosen.spread(chosen.real, scheme)),
        "synthetic": said(chosen.spread(chosen.synthetic, scheme)),
        "exclude_near": ticked(design.exclude_near),
        "lesion_class": ticked(design.lesion_class),
        "class_confidence": ticked(design.class_confidence),
        "reasons": ticked(design.reasons),
        "practice": str(design.practice),
        "repeats": str(design.repeats),
        "repeat_distance": str(design.repeat_distance),
        "break_every": str(design.break_every),
        "size_mm": "" if design.size_mm is None else f"{design.size_mm:g}",
    }


def refuse_untitled(typed: Typed, step: Step) -> None:
    """Unreadable where no title was typed; from a later step on it says where that is done."""
    if not typed.title.strip():
        where = "" if step is Step.DESIGN else " (step Design)"
        raise Unreadable(f"Give the study a title{where}.")
    found = telling(typed.title) if typed.unaware else None
    if found:
        raise Unreadable(
            f"Readers see the title in their list, and “{found}” would tell them before the time. "
            "Give the study another one."
        )
