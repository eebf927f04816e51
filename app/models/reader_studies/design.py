"""Designs: how a study is read and judged, beside which images it shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from enum import StrEnum

from app.errors import Unreadable
from app.models.reader_studies.graded import QUESTIONS, Graded, said, typed
from app.models.reader_studies.intent import UNSAID, Intent
from app.models.reader_studies.stored import Json, Stored, read, write
from app.models.reader_studies.task import Task
from ml.lesion import LesionScheme
from ml.readers.grades import POINTS
from ml.readers.hypothesis import Measure

DISPLAY_PX = 512
"""Side of an ROI on the desk, in CSS pixels, where no size in mm is asked for."""

ANALYSIS = (
    "Per reader, secondary: AUC of the six-point answer against 0.5 on first presentations; "
    "equivalence with chance when its 90 % interval lies within 0.5 ± the margin; no verdict for "
    "a reader who does not use the scale, nor across readers when one of them does not. Also "
    "secondary: sensitivity, specificity and accuracy with Wilson 95 % intervals (ratings 4 to 6 "
    "count as “synthetic”), lesion class on real against synthetic, agreement within and between "
    "readers."
)
ANALYSIS_WITHOUT_CLASS = ANALYSIS.replace("lesion class on real against synthetic, ", "") + (
    " The lesion class is not asked for, so nothing is said of it."
)
EARLIER_ANALYSIS = (
    "Primary, per reader: AUC of the six-point answer against 0.5 on first presentations; "
    "equivalence with chance when its 90 % interval lies within 0.5 ± the margin; a reader who "
    "uses one category gets no verdict. Secondary: sensitivity, specificity and accuracy with "
    "Wilson 95 % intervals (ratings 4 to 6 count as “synthetic”), lesion class on real against "
    "synthetic, agreement within and between readers."
)
"""The plan as it came before a study named its primary hypothesis, for protocols of then."""
_EARLIER_WITHOUT_CLASS = EARLIER_ANALYSIS.replace(
    "lesion class on real against synthetic, ", ""
) + (" The lesion class is not asked for, so nothing is said of it.")
ANALYSIS_OF_CHOICES = (
    "Per reader, secondary: the share of pairs in which the synthetic image was named, against "
    "0.5, on first presentations, with its exact 95 % interval; equivalence with chance when its "
    "90 % interval lies within 0.5 ± the margin; no verdict for a reader who gave fewer answers "
    "to one of the sides than the protocol asks for, nor across readers when one of them did. Also "
    "secondary: d′ = √2 z(share), the share named on the left, the "
    "share by lesion class and by generator, across readers with random readers and pairs."
)
_EARLIER_OF_CHOICES = (
    "Per reader, secondary: the share of pairs in which the synthetic image was named, against "
    "0.5, on first presentations, with its exact 95 % interval; equivalence with chance when its "
    "90 % interval lies within 0.5 ± the margin; a reader who named one side in more than 90 % of "
    "the pairs gets no verdict. Secondary: d′ = √2 z(share), the share named on the left, the "
    "share by lesion class and by generator, across readers with random readers and pairs."
)
"""The same before the share was the protocol's, for drafts of then."""
ANALYSIS_OF_PREFERENCES = (
    "For each two generators and each reader: the share of pairs in which the first by name was "
    "preferred, against 0.5, on first presentations, with its exact 95 % interval; equivalence "
    "when its 90 % interval lies within 0.5 ± the margin; no verdict for a reader who hardly names "
    "one of the sides. Across random readers and pairs the same; of three generators and more "
    "their strengths by Bradley and Terry with intervals over readers and pairs. No ties: who "
    "cannot tell guesses. No real image is shown, and nothing is said of how real any looks."
)
ANALYSIS_OF_GRADES = (
    "For each question, secondary but for what the primary hypothesis says of the first: AUC of "
    "the grades, the chance that a real image gets a higher grade than a synthetic one, against "
    "0.5 on first presentations, per reader and across random readers and images; equivalence when "
    "its 90 % interval lies within 0.5 ± the margin; no verdict for a reader who does not use the "
    "scale, nor across readers when one of them does not. Also secondary: distribution of the "
    "grades by source, area by generator and by lesion class, agreement within and between readers."
)
ANALYSIS_UNAWARE = (
    "First part, before readers know: share of lesion classes named right on real and on synthetic "
    "images with Wilson and exact 95 % intervals, their difference per reader (Newcombe) and over "
    "readers. Second part, after the debriefing, per reader: AUC of the six-point answer against "
    "0.5; equivalence with chance when its 90 % interval lies within 0.5 ± the margin; a reader "
    "who uses one category gets no verdict. The first part is exploratory; the parts are never "
    "pooled."
)
_SEE = (
    "You will see images of liver lesions one by one. Some were cut from CT, some were drawn by a "
    "program. For each, say how sure you are that it is real or synthetic"
)
_ALONE = " Work alone, at your own pace, and do not discuss the images with other readers."
INSTRUCTIONS = f"{_SEE}, and which lesion it shows.{_ALONE}"
INSTRUCTIONS_WITHOUT_CLASS = f"{_SEE}.{_ALONE}"
INSTRUCTIONS_OF_CHOICES = (
    "You will see two images of a liver lesion side by side. One was cut from CT, the other was "
    f"drawn by a program. Say which of the two is synthetic; where you cannot tell, guess.{_ALONE}"
)
INSTRUCTIONS_OF_PREFERENCES = (
    "You will see two images of a liver lesion side by side. Both were drawn by a program. Say "
    f"which of the two looks more like a real lesion; where you cannot tell, guess.{_ALONE}"
)
INSTRUCTIONS_OF_GRADES = (
    "You will see images of liver lesions one by one. Some were cut from CT, some were drawn by a "
    "program. For each, answer every question with a grade from 1 to 5; what each grade means "
    f"stands beside the keys. You are not asked which is which: grade what you see.{_ALONE}"
)
CONSENT = (
    "I take part as a reader of my own will. My answers, the time they took, and what I say about "
    "my experience, room and screen are stored with my account name and analysed for research. "
    "I may stop at any time without giving a reason to anyone but the researcher; answers given "
    "until then are kept and marked."
)

CONSENT_UNAWARE = (
    f"{CONSENT} What the study is about is told in full when I have read the images; then I may "
    "go on, or leave the study."
)
INSTRUCTIONS_UNAWARE = (
    "You will see images of liver lesions one by one. For each, say which lesion it shows and how "
    f"sure you are of it.{_ALONE}"
)
DEBRIEFING = (
    "Some of the images that you have just read were not cut from CT but drawn by a program. This "
    "was not told before, because whoever knows it reads otherwise: the study compares how well "
    "lesions are recognised on both. No decision about a patient was or will be made from your "
    "answers. You may leave the study now, without giving a reason; if you go on, there is a "
    "second part in which you say of each image whether it is real or synthetic. Please do not "
    "speak of this with others who have not finished the first part."
)
_TELLING = re.compile(
    r"synth|artific|fake|fälsch|turing|(?<!re)(?<!de)generat|generier|erzeugt|künstlich|drawn by|"
    r"authenti|real (or|and|vs)|echt (oder|und)|\b(dc|style)?gans?\b|diffusion model"
)
"""Parts of words that would tell a reader, before the time, that not every image is real."""


_SHIPPED = (
    (
        ANALYSIS,
        ANALYSIS_WITHOUT_CLASS,
        ANALYSIS_OF_CHOICES,
        ANALYSIS_UNAWARE,
        ANALYSIS_OF_GRADES,
        ANALYSIS_OF_PREFERENCES,
    ),
    (
        INSTRUCTIONS,
        INSTRUCTIONS_WITHOUT_CLASS,
        INSTRUCTIONS_OF_CHOICES,
        INSTRUCTIONS_UNAWARE,
        INSTRUCTIONS_OF_GRADES,
        INSTRUCTIONS_OF_PREFERENCES,
    ),
)


class SecondImages(StrEnum):
    """What is read in the second part of an unaware study."""

    SAME = "same"
    OTHER = "other"


_TEXTS = (
    "intent",
    "margin",
    "analysis",
    "instructions",
    "consent",
    "consent_version",
    "consent_date",
    "ethics_reference",
)


@dataclass(frozen=True)
class Design(Stored):
    """What is chosen about the reading; frozen with the protocol.

    Attributes:
        preset: paper, balanced, pairs or own; says where the choices came from.
        task: what a reader does with what a trial shows.
        unaware: in a first part readers are not told that some images are synthetic, and only name
            the lesion class; after a debriefing they say real or synthetic in a second part.
        second_images: what the second part shows: the images of the first again, or others.
        debriefing: what readers are told between the parts; "" where there is one part.
        debriefing_confirmed: the researcher has confirmed that every reader is debriefed.
        graded: of graded realism, the questions in their order; none of any other task.
        lesion_class: ask which lesion it is, beside the task of single images.
        class_confidence: ask how sure the reader is of the lesion class, on 5 points.
        reasons: offer the checklist "why does it look synthetic?".
        practice: images (or pairs) read first, with feedback, that are in no result.
        repeats: hidden second presentations, at least ``repeat_distance`` trials later.
        break_every: offer a break after so many trials; 0: never.
        tell_prevalence: readers are told how many images are synthetic.
        interpolation: smooth or crisp.
        size_mm: side of the image on the calibrated screen; None: 512 CSS pixels.
        window, zoom: readers may change brightness and contrast, or enlarge; both are logged.
        back: readers may go back and change an answer; earlier ones are kept.
        intent: the primary hypothesis, and how it and the others are judged.
        margin: an AUC, or a share of pairs, within 0.5 ± margin counts as chance.
        least_off, least_ratings: a reader used the scale who gave at least that share of answers
            (0–1) off their commonest rating, and at least so many ratings; otherwise there is no
            verdict. None only in protocols of before there was such a rule.
        exclude_own: nobody reads a lesion that they marked or reviewed.
        exclude_read: nobody reads an image that they read, or are to read, in another study,
            practice included.
        exclude_seen: nobody reads an image that they were shown elsewhere: in the viewer, among the
            synthetic lesions, in a data set, or with its truth in the results of a study.
        exclude_near: synthetic ROIs too like a real one, or like a training ROI of their
            generator where those are kept here, are drawn anew.
        redrawn: every image, real or synthetic, is shown on a grid of its own, so that no stored
            copy equals it (`ml.images.regrid`).
        leave_out_unsent: answers to pictures that were never sent to their reader are in no verdict
            and no figure but beside them; None in protocols of before there was such a rule.
        least_ms: an answer within less time counts as implausible; 0: none does.
        near_limit: from which correlation on two ROIs are too alike; None: from the data, as
            `ml.statistics.likeness.Likeness` has it.
    """

    preset: str = "own"
    task: Task = Task.ORIGIN
    unaware: bool = False
    second_images: SecondImages = SecondImages.SAME
    debriefing: str = ""
    debriefing_confirmed: bool = False
    graded: tuple[Graded, ...] = ()
    lesion_class: bool = True
    class_confidence: bool = False
    reasons: bool = False
    practice: int = 0
    repeats: int = 0
    repeat_distance: int = 20
    break_every: int = 0
    tell_prevalence: bool = False
    interpolation: str = "smooth"
    size_mm: float | None = None
    window: bool = False
    zoom: bool = False
    back: bool = False
    exclude_own: bool = True
    exclude_read: bool = True
    exclude_seen: bool = True
    redrawn: bool = False
    leave_out_unsent: bool | None = True
    least_ms: int = 1000
    exclude_near: bool = False
    near_limit: float | None = None
    intent: Intent = field(default_factory=Intent)
    margin: float = 0.10
    least_off: float | None = 0.10
    least_ratings: int | None = 3
    analysis: str = ANALYSIS
    instructions: str = INSTRUCTIONS
    consent: str = CONSENT
    consent_version: str = "1"
    consent_date: str = ""
    ethics_reference: str = ""

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> Design:
        """From what a draft stores; keys of another version are left out.

        A draft of an earlier version names no hypothesis.

        Raises:
            Damaged: a value is of another kind.
        """
        known = {item.name for item in fields(cls)}
        before = {"intent": write(UNSAID)}
        ours = {key: value for key, value in {**before, **found}.items() if key in known}
        return read(cls, ours, "The design of the study")

    @property
    def measure(self) -> Measure:
        """What a hypothesis of the study speaks of."""
        return Measure.SECOND_PART if self.unaware else self.task.measure

    def content(self) -> Json:
        """Its part of a protocol."""
        choices = {key: value for key, value in asdict(self).items() if key not in _TEXTS}
        choices["graded"] = [write(one) for one in self.graded]
        return {
            "design": choices,
            "intent": write(self.intent),
            "margin": self.margin,
            "analysis": self.analysis,
            "instructions": self.instructions,
            "consent": {
                "text": self.consent,
                "version": self.consent_version,
                "date": self.consent_date,
            },
            "ethics_reference": self.ethics_reference,
        }

    def _check_grades(self) -> None:
        """What a study of graded realism asks, and nothing beside it."""
        if self.task is not Task.REALISM:
            if self.graded:
                raise Unreadable(
                    "Graded questions are asked in studies of graded realism only."
                ).about("graded")
            return
        typed(said(self.graded))
        if self.lesion_class or self.class_confidence or self.reasons:
            raise Unreadable(
                "In a study of graded realism grades are all that is asked. Leave out the lesion "
                "class, how sure a reader is of it, and the reasons."
            )
        if self.least_ratings is not None and self.least_ratings > POINTS:
            raise Unreadable(
                f"There are {POINTS} grades, so a reader cannot use {self.least_ratings} of them. "
                f"Choose from 2 to {POINTS} that must be used."
            ).about("least_ratings")

    def _check_unaware(self) -> None:
        """What a study needs whose readers are not told at first."""
        if self.task is not Task.ORIGIN or not self.lesion_class:
            raise Unreadable(
                "An unaware study asks for the lesion class of single images first, and then "
                "whether they are real or synthetic. Ask for the lesion class."
            )
        if self.practice or self.repeats:
            raise Unreadable(
                "An unaware study has neither practice, whose feedback would tell of synthetic "
                "images, nor hidden repeats, which the second part could not be told from. Choose "
                "0 of both."
            ).about("practice", "repeats")
        if self.tell_prevalence:
            raise Unreadable("How many images are synthetic cannot be told to unaware readers.")
        for field_name, words in (
            ("instructions", "instructions"),
            ("consent", "consent text"),
            ("consent_version", "version of the consent"),
            ("ethics_reference", "ethics reference"),
        ):
            text = getattr(self, field_name).strip()
            if found := telling(fitting(text, self.task, unaware=True)):
                raise Unreadable(
                    f"The {words} would tell readers before the time (“{found}”). Say what the "
                    "study is about in the debriefing."
                ).about(field_name)
        if not 1 <= len(self.debriefing.strip()) <= 10_000:
            raise Unreadable("Give the debriefing in 1 to 10,000 characters.").about("debriefing")
        if not self.debriefing_confirmed:
            raise Unreadable(
                "Confirm that every reader is debriefed (step Conduct and analysis): readers who "
                "were not told something must be told it afterwards."
            )

    def checked(self, images: int) -> Design:
        """The design, if a study of so many images or pairs can be read by it; texts are trimmed.

        Texts left as they come fit what is asked.

        Raises:
            Unreadable: a choice that cannot be carried out, and why.
        """
        things = f"{self.task.thing}s"
        if self.unaware:
            self._check_unaware()
        self._check_grades()
        if self.task.is_paired and (self.lesion_class or self.class_confidence or self.reasons):
            raise Unreadable(
                "Of a pair only one thing is asked: which image it is. Leave out the lesion class, "
                "how sure a reader is of it, and the reasons."
            )
        if self.task is Task.PREFERENCE and self.practice:
            raise Unreadable(
                "Nothing is right or wrong about a preference, so practice has nothing to tell. "
                "Choose 0 practice pairs."
            ).about("practice")
        if self.task.is_paired and self.tell_prevalence:
            raise Unreadable("Of every pair one image is synthetic; there is nothing else to tell.")
        if self.class_confidence and not self.lesion_class:
            raise Unreadable(
                "How sure a reader is of the lesion class can only be asked with the lesion class. "
                "Ask for both, or for neither."
            )
        if self.practice and not 2 <= self.practice <= 40:
            raise Unreadable(
                f"Choose 0 practice {things}, or from 2 to 40: both sources are shown."
            ).about("practice")
        if not 0 <= self.repeats <= images // 2:
            raise Unreadable(
                f"Choose from 0 to {images // 2} repeats for {images} {things}, not {self.repeats}."
            ).about("repeats")
        if self.repeats and not 1 <= self.repeat_distance <= images // 2:
            raise Unreadable(
                f"With {images} {things} repeats can be from 1 to {images // 2} trials apart, not "
                f"{self.repeat_distance}."
            ).about("repeat_distance")
        if self.break_every and not 5 <= self.break_every <= 500:
            raise Unreadable("Offer a break after 5 to 500 trials, or after 0: never.").about(
                "break_every"
            )
        if self.interpolation not in ("smooth", "crisp"):
            raise Unreadable("Choose smooth or crisp interpolation.").about("interpolation")
        if self.size_mm is not None and not 20 <= self.size_mm <= 300:
            raise Unreadable("Choose an image size from 20 to 300 mm, or leave it empty.").about(
                "size_mm"
            )
        if self.near_limit is not None and not 0.5 <= self.near_limit <= 0.999:
            raise Unreadable(
                "Choose a limit of likeness from 0.5 to 0.999, or leave it empty."
            ).about("near_limit")
        if not 0 <= self.least_ms <= 60_000:
            raise Unreadable("Choose a least time for an answer from 0 to 60,000 ms.").about(
                "least_ms"
            )
        if not 0.01 <= self.margin <= 0.3:
            raise Unreadable(f"Choose a margin from 0.01 to 0.30, not {self.margin}.").about(
                "margin"
            )
        if self.least_off is None or not 0.05 <= self.least_off <= 0.5:
            raise Unreadable(
                "Choose from 5 to 50 % of answers off the commonest rating, not "
                f"{'none' if self.least_off is None else f'{100 * self.least_off:g} %'}."
            ).about("least_off")
        if self.least_ratings is None or not 2 <= self.least_ratings <= 6:
            raise Unreadable(
                f"Choose from 2 to 6 ratings that a reader must use, not "
                f"{self.least_ratings or 'none'}."
            ).about("least_ratings")
        for field_name, words in (
            ("analysis", "the analysis plan"),
            ("instructions", "the instructions"),
            ("consent", "the consent text"),
        ):
            if not 1 <= len(getattr(self, field_name).strip()) <= 10_000:
                raise Unreadable(f"Give {words} in 1 to 10,000 characters.").about(field_name)
        if not 1 <= len(self.consent_version.strip()) <= 40:
            raise Unreadable("Give the version of the consent text in 1 to 40 characters.").about(
                "consent_version"
            )
        if len(self.ethics_reference) > 500:
            raise Unreadable("Give the ethics reference in at most 500 characters.").about(
                "ethics_reference"
            )
        return replace(
            self,
            intent=self.intent.checked(),
            analysis=fitting(
                self.analysis.strip(), self.task, self.lesion_class, unaware=self.unaware
            ),
            instructions=fitting(
                self.instructions.strip(), self.task, self.lesion_class, unaware=self.unaware
            ),
            consent=fitting(self.consent.strip(), self.task, unaware=self.unaware),
            debriefing=self.debriefing.strip() if self.unaware else "",
            consent_version=self.consent_version.strip(),
            ethics_reference=self.ethics_reference.strip(),
            consent_date=_day(self.consent_date),
        )


def fitting(text: str, task: Task, lesion_class: bool = True, *, unaware: bool = False) -> str:
    """A text that comes with Hepatica in the wording for what is asked.

    Any other text stays as it is.
    """
    earlier = {
        EARLIER_ANALYSIS: ANALYSIS,
        _EARLIER_WITHOUT_CLASS: ANALYSIS_WITHOUT_CLASS,
        _EARLIER_OF_CHOICES: ANALYSIS_OF_CHOICES,
    }
    text = earlier.get(text, text)
    if text in (CONSENT, CONSENT_UNAWARE):
        return CONSENT_UNAWARE if unaware else CONSENT
    for texts in _SHIPPED:
        if text in texts:
            with_class, without_class, of_choices, of_unaware, of_grades, of_preferences = texts
            if unaware:
                return of_unaware
            if task is Task.CHOICE:
                return of_choices
            if task is Task.REALISM:
                return of_grades
            if task is Task.PREFERENCE:
                return of_preferences
            return with_class if lesion_class else without_class
    return text


def telling(text: str) -> str | None:
    """The first part of a word in a text that tells of synthetic images; None for none."""
    found = _TELLING.search(text.lower())
    return found.group() if found else None


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text.strip()).isoformat() if text.strip() else ""
    except ValueError:
        raise Unreadable(
            f"Give the date of the consent text as YYYY-MM-DD, not {text[:20]!r}."
        ) from None


@dataclass(frozen=True)
class Preset:
    """A design to begin from, with its numbers of images: in all, or per class key."""

    title: str
    text: str
    real: int | dict[str, int]
    synthetic: int | dict[str, int]
    design: Design = field(default_factory=Design)

    @staticmethod
    def spread(asked: int | dict[str, int], scheme: LesionScheme | None) -> int | dict[str, int]:
        """Numbers per class by its key, in the scheme's order; in all where the classes differ."""
        if isinstance(asked, int):
            return asked
        if scheme is None or set(asked) != set(scheme.keys):
            return sum(asked.values())
        return {key: asked[key] for key in scheme.keys}

    def note(self, scheme: LesionScheme) -> str:
        """What to say where its numbers are of other classes than the scheme's."""
        if isinstance(self.real, int) or set(self.real) == set(scheme.keys):
            return ""
        return (
            f"“{self.title}” gives numbers for {', '.join(self.real)}. This scheme has "
            f"{', '.join(scheme.keys)}: the sums are spread over its classes as evenly as can be."
        )


DESIGNS = {
    "balanced": Preset(
        "Recommended: half real, half synthetic",
        "150 of each, 30 hidden repeats, confidence of the class, reasons, practice with feedback. "
        "Always answering “real” reaches 50 %.",
        150,
        150,
        Design(
            preset="balanced",
            class_confidence=True,
            reasons=True,
            practice=8,
            repeats=30,
            repeat_distance=50,
            break_every=60,
            size_mm=100.0,
            exclude_near=True,
        ),
    ),
    "paper": Preset(
        "The paper's design",
        "302 ROIs: 182 real (53 cysts, 64 metastases, 65 hemangiomas) and 120 synthetic, 40 of "
        "each class; two questions. Always answering “real” reaches 60 %.",
        {"cyst": 53, "metastasis": 64, "hemangioma": 65},
        {"cyst": 40, "metastasis": 40, "hemangioma": 40},
        Design(preset="paper"),
    ),
    "pairs": Preset(
        "Side by side: which of the two is synthetic?",
        "100 pairs of a real and a synthetic image of the same class (two-alternative forced "
        "choice), one key each, practice with feedback. Guessing reaches 50 %; no reader can be "
        "more or less inclined to say “synthetic”, which makes it the most sensitive question.",
        100,
        100,
        Design(
            preset="pairs",
            task=Task.CHOICE,
            lesion_class=False,
            practice=4,
            repeats=10,
            repeat_distance=30,
            break_every=50,
            exclude_near=True,
        ),
    ),
    "realism": Preset(
        "Graded realism: how real does it look?",
        "100 real and 100 synthetic images, one by one, each graded on five anchored points by "
        "three questions: the whole image, the lesion, the tissue around it. Nobody is asked which "
        "is synthetic; shown is what looks less real, and of which generator.",
        100,
        100,
        Design(
            preset="realism",
            task=Task.REALISM,
            graded=QUESTIONS,
            lesion_class=False,
            practice=4,
            repeats=20,
            repeat_distance=40,
            break_every=50,
            exclude_near=True,
        ),
    ),
    "preference": Preset(
        "Two generators side by side: which looks more real?",
        "100 pairs of synthetic images of the same class, each of the two by another generator; no "
        "real image is needed. One key each, no ties. Every two of the chosen generators take "
        "turns; of three and more a common scale is fitted.",
        0,
        100,
        Design(
            preset="preference",
            task=Task.PREFERENCE,
            lesion_class=False,
            repeats=10,
            repeat_distance=30,
            break_every=50,
        ),
    ),
    "unaware": Preset(
        "Diagnosis first, unaware; then real or synthetic",
        "80 images, half of them synthetic. Readers first name the lesion and are not told that "
        "some images are synthetic; then they are debriefed, and say real or synthetic. Shows "
        "whether synthetic lesions are recognised as well as real ones, and who noticed unasked.",
        40,
        40,
        Design(
            preset="unaware",
            unaware=True,
            debriefing=DEBRIEFING,
            class_confidence=True,
            reasons=True,
            break_every=40,
            exclude_near=True,
        ),
    ),
    "own": Preset(
        "My own design",
        "Images one by one, every choice is yours; begins with ten of each and two questions.",
        10,
        10,
    ),
}
"""Where the wizard begins: key → preset."""
