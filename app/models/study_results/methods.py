"""Methods: how a study was conducted, in sentences for a paper, from its own record alone.

What did not happen is not said, and what the record does not hold is said to be unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from sqlalchemy.orm import Session

from app.models.checkpoint import Checkpoint
from app.models.reader_studies.audit import details_of
from app.models.reader_studies.conduct import Conduct
from app.models.reader_studies.debriefing import Debriefing
from app.models.reader_studies.design import Design, SecondImages
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import Source, Stimulus
from app.models.reader_studies.task import Part, Task
from app.models.reader_studies.versions import Amendment
from app.models.study_results.answers import Answers, Line, reader_code
from app.models.study_results.times import Clock
from app.settings import VERSION
from ml.images.ct_slice import ImageKind
from ml.leak_audit.record import Colour
from ml.readers.results import Unsent

_REAL = {
    ImageKind.PHANTOM: "cut from simulated CT (phantoms, no patient)",
    ImageKind.CALIBRATED: "cut from CT of patients",
    ImageKind.UNCALIBRATED: "cut from pictures of patients without calibrated grey values",
}
_MOST = 6
"""Features of the leak audit that are told one by one."""
_TRAINED = {"phantom": "simulated CT", "calibrated": "CT of patients", "uncalibrated": "pictures"}


def paragraph(session: Session, answers: Answers, analysed: str, seed: int) -> str:
    """The methods paragraph of a study: conduct, what was analysed (``analysed``), by what."""
    if not any(one.reading for one in answers.lines if not one.is_practice):
        return ""
    study = Conducted(session, answers)
    parts = [
        *study.images(),
        *study.readers(),
        *study.reading(),
        *study.display(),
        *study.audit(),
        *study.plan(),
        analysed,
        f"Analysed with Hepatica {VERSION} (seed {seed}); protocol version "
        f"{answers.protocol.version}, SHA-256 {answers.protocol.digest}.",
    ]
    return " ".join(part for part in parts if part)


class Conducted:
    """How a study was conducted, a list of sentences for each part of it."""

    def __init__(self, session: Session, answers: Answers) -> None:
        self._session, self._answers = session, answers
        self._design: Design = answers.study.design
        self._content = answers.protocol.content

    # -- what was shown ------------------------------------------------------------------------

    def images(self) -> list[str]:
        """How many images of which source, whence, and which were drawn anew."""
        stimuli = self._answers.stimuli
        real = [one for one in stimuli if one.truth == Source.REAL]
        drawn = [one for one in stimuli if one.truth == Source.SYNTHETIC]
        patients = len({one.patient for one in real if one.patient})
        of_patients = f" of {_number(patients, 'patient')}" if patients else ""
        sources = self._content.sources
        versions = ", ".join(f"{one.name} ({one.digest[:12]})" for one in sources.versions)
        whence = f"dataset version {versions}" if versions else sources.real
        of = f"{_number(len(stimuli), 'region')} of interest of {self._answers.study.scheme.name}"
        if not self._design.task.shows_real:
            said = [
                f"The study showed {of} lesions, all of them synthetic ({self._mix(drawn)}; drawn "
                f"by {self._generators()}); no real image was in it."
            ]
            return said + self._anew()
        said = [
            f"The study showed {of} lesions: {len(real)} real ones{of_patients}, "
            f"{_REAL[self._answers.study.kind]} ({self._mix(real)}; from {whence}), and "
            f"{len(drawn)} synthetic ones ({self._mix(drawn)}; drawn by {self._generators()})."
        ]
        gone = len(Stimulus.withdrawn_sources(self._session, self._answers.study.id))
        if gone:
            said.append(
                f"{_number(gone, 'lesion')} of which an image was shown had been withdrawn by the "
                "time of the analysis; the answers are in it."
            )
        return said + self._by_hand(len(drawn)) + self._anew()

    def _by_hand(self, drawn: int) -> list[str]:
        """How many synthetic images somebody chose."""
        chosen = self._content.sources.chosen
        if not chosen:
            return []
        return [
            f"Of the synthetic ones {chosen} of {drawn} {'was' if chosen == 1 else 'were'} chosen "
            "by hand beforehand, so they are no random sample of what the generators draw."
        ]

    def _anew(self) -> list[str]:
        """What was drawn anew, because it was too like a real region."""
        likeness = self._content.sources.likeness
        if likeness is None:
            return []
        anew = _number(likeness.drawn_anew, "synthetic image")
        return [
            f"Synthetic images too like one of {likeness.real.rois} real regions "
            f"({likeness.measure}, above {likeness.real.limit:.3f}) were drawn anew before the "
            f"study: {anew}."
        ]

    def _mix(self, stimuli: Sequence[Stimulus]) -> str:
        found = Counter(one.lesion_class for one in stimuli)
        scheme = self._answers.study.scheme
        return ", ".join(f"{found[key]} {scheme.display(key)}" for key in scheme.keys if found[key])

    def _generators(self) -> str:
        rows: dict[str, Checkpoint] = {}
        for one in self._answers.stimuli:
            if one.checkpoint is not None:
                rows.setdefault(one.checkpoint.generator, one.checkpoint)
        return ", ".join(
            f"{name}, trained on {_TRAINED.get(row.training_kind, row.training_kind)}"
            for name, row in sorted(rows.items())
        )

    # -- who read ------------------------------------------------------------------------------

    def readers(self) -> list[str]:
        """How many images each reader read, who left, and what they said of themselves."""
        answers = self._answers
        said = [self._of_part(part, total) for part, total in self._totals().items()]
        conducts = {
            reader_code(one.number): found
            for one in answers.enrolments
            if (found := Conduct.latest(self._session, one.id)) is not None
            and any(self._own(one, part) for part in answers.study.parts)
        }
        if conducts:
            said.append(
                "By their own account: "
                + "; ".join(
                    f"{name} {row.years:g} years in {row.subspecialty}, {row.room} room, "
                    f"{_screen(row)}"
                    for name, row in conducts.items()
                )
                + "."
            )
        return said

    def _totals(self) -> dict[Part, int]:
        """Part → how many images or pairs each reader was to read in it."""
        study = self._answers.study
        return dict(study.parts) if study.unaware else {Part.WHOLE: study.total}

    def _of_part(self, part: Part, total: int) -> str:
        """How much each reader read in it; who left is told with the part in which they did."""
        enrolments, thing = self._answers.enrolments, self._design.task.thing
        told = "; ".join(self._reader(one, self._own(one, part), part) for one in enrolments)
        where = {Part.UNAWARE: "In the first part ", Part.TOLD: "In the second part "}
        readers = _number(len(enrolments), "reader")
        return (
            f"{where.get(part, '')}{readers} {_were(len(enrolments))} to read "
            f"{_number(total, thing)} each, and read: {told}."
        )

    def _own(self, enrolment: Enrolment, part: Part) -> list[Line]:
        """A reader's answered first presentations of a part, of those that were sent."""
        code = reader_code(enrolment.number)
        return [
            one
            for one in self._answers.lines
            if one.reader == code
            and one.trial.part is part
            and one.reading
            and not one.unsent
            and not one.is_practice
            and not one.is_repeat
        ]

    def _reader(self, enrolment: Enrolment, own: Sequence[Line], part: Part) -> str:
        real = sum(one.stimulus.truth == Source.REAL for one in own)
        paired = self._answers.study.design.task.is_paired
        counts = f" ({real} real, {len(own) - real} synthetic)" if own and not paired else ""
        left = ""
        if enrolment.withdrawal is not None and part is not Part.UNAWARE:
            # why a reader left is told to the researcher alone, as the consent says
            left = (
                ", then withdrew"
                if enrolment.withdrawal.by_id == enrolment.reader_id
                else f", then was withdrawn: “{enrolment.withdrawal.reason.rstrip('.')}”"
            )
        return f"{reader_code(enrolment.number)} {len(own) or 'none'}{counts}{left}"

    # -- how it was read -----------------------------------------------------------------------

    def reading(self) -> list[str]:
        """Blinding, order, practice, repeats, what readers were told, and who was kept out."""
        design, answers = self._design, self._answers
        blind = (
            "Readers did not see which image is real before the study was unblinded "
            f"({answers.unblinding.at:%Y-%m-%d}); each had a random order of their own"
        )
        if design.task is Task.PREFERENCE:
            said = [
                "Readers were told that both images of each pair are synthetic, and not by which "
                "generator either is; each had a random order of their own.",
                "Each pair was of one lesion class and the same for all readers; the generator "
                "whose name comes first stood on the left in half of the pairs, drawn anew for "
                "each reader.",
            ]
        elif design.unaware:
            said = [f"{blind} in each part.", *self._unaware()]
        elif design.task.is_paired:
            said = [f"{blind} and was told that one image of each pair is synthetic."]
        else:
            told = "told" if design.tell_prevalence else "not told"
            said = [f"{blind} and was {told} how many images are synthetic."]
        if design.task is Task.CHOICE:
            said.append(
                "Each pair was of one lesion class and the same for all readers; the synthetic "
                "image stood on the left in half of the pairs, drawn anew for each reader."
            )
        practised = self._answered(lambda one: one.is_practice)
        if any(practised.values()):
            said.append(
                f"Before it they read practice {design.task.thing}s, other ones, and were told the "
                "truth of each after the answer, which can change how they read: "
                f"{_each(practised)}."
            )
        repeated = self._answered(lambda one: one.is_repeat)
        if any(repeated.values()):
            said.append(
                f"Some {design.task.thing}s came a second time unannounced ({_each(repeated)}); "
                "these answers serve the agreement of readers with themselves only"
                f"{self._late()}."
            )
        said += [] if design.unaware else [self._asked()]
        if design.back:
            changed = sum(bool(one.earlier) for one in answers.lines)
            said.append(
                f"They could go back and change an answer, which happened in {changed} trials; the "
                "last answer counts."
            )
        kept_out = ["marked or reviewed"] if design.exclude_own else []
        kept_out += ["read in another study, practice included"] if design.exclude_read else []
        kept_out += ["been shown elsewhere in the software"] if design.exclude_seen else []
        said += self._marked(design.least_ms)
        if kept_out:
            said.append(f"Nobody read an image that they had {_or(kept_out)}.")
        else:
            said.append(
                "Whether readers knew images from reviews or other studies was not excluded."
            )
        return said

    def _unaware(self) -> list[str]:
        """What unaware readers were not told, what they were asked, and that they were told."""
        design, answers = self._design, self._answers
        told = sum(Debriefing.of(self._session, one.id) is not None for one in answers.enrolments)
        sure = ", and how sure they are of it" if design.class_confidence else ""
        why = ", and why an image looks synthetic" if design.reasons else ""
        read = "of the same images" if design.second_images is SecondImages.SAME else (
            "of other images")  # fmt: skip
        noticed = answers.noticed
        before = sum(one.signed_in_before(self._session) for one in answers.enrolments)
        known = (
            f" {_number(before, 'reader')} had signed in to the software before being enrolled, "
            "and its pages name synthetic lesions then."
            if before
            else ""
        )
        return [
            "In the first part they were asked the class of the lesion"
            f"{sure}, and nothing that the software showed them said that some images are "
            "synthetic. They had neither read a study that says so nor been shown synthetic "
            f"lesions in it; what they knew otherwise is not recorded.{known}",
            f"After it {_number(noticed.asked, 'reader')} {_were(noticed.asked)} asked in free "
            f"text what had struck them ({len(noticed.remarks)} wrote something), and {told} "
            f"{_were(told)} then debriefed.",
            f"In the second part, {read}, they were asked real or synthetic on six points from 1 "
            f"(certainly real) to 6 (certainly synthetic){why}; they were not told how many images "
            "are synthetic.",
        ]

    def _asked(self) -> str:
        """The questions of a study of one part."""
        design = self._design
        asked = [self._question()]
        asked += ["the class of the lesion"] if design.lesion_class else []
        asked += ["how sure they are of that class"] if design.class_confidence else []
        asked += ["why an image looks synthetic"] if design.reasons else []
        return f"They were asked {_list(asked)}."

    def _question(self) -> str:
        """What is asked in any study of the task, to follow "They were asked"."""
        if self._design.task is Task.CHOICE:
            return "which of the two is synthetic (two-alternative forced choice)"
        if self._design.task is Task.PREFERENCE:
            return "which of the two looks more like a real lesion (forced choice, no ties)"
        if self._design.task is Task.REALISM:
            each = "; ".join(
                f"“{one.text}” (1 {one.anchors[0]}, 5 {one.anchors[-1]})"
                for one in self._design.graded
            )
            return f"for grades from 1 to 5, and not which images are synthetic: {each}"
        return "real or synthetic on six points from 1 (certainly real) to 6 (certainly synthetic)"

    def _marked(self, least_ms: int) -> list[str]:
        """Answers that cannot be what they seem: to pictures never sent, and too fast or odd."""
        clock = Clock(self._session, self._answers)
        others = sum(
            bool(clock.of(one, one.reading).marks)
            for one in self._answers.lines
            if one.reading is not None and not one.is_practice and not one.unsent
        )
        said = []
        unsent = Unsent.of(
            (
                (one.reader, one.unsent)
                for one in self._answers.lines
                if one.reading is not None and not one.is_practice
            ),
            in_protocol=bool(self._design.leave_out_unsent),
        )
        if unsent is not None:
            said.append(unsent.sentence)
        if least_ms:
            said.append(
                f"Answers in less than {least_ms:,} ms, or with times that the server's clock "
                "contradicts, were marked as implausible, a rule set beforehand: "
                f"{others}. They are in the analysis."
            )
        return said

    def _answered(self, kind: Callable[[Line], bool]) -> dict[str, int]:
        found = {reader_code(one.number): 0 for one in self._answers.enrolments}
        for line in self._answers.lines:
            if kind(line) and line.reading is not None:
                found[line.reader] += 1
        return found

    def _late(self) -> str:
        """Of how many repeats the first showing has no answer that counts, so that they do."""
        counting = [
            one
            for one in self._answers.lines
            if one.reading is not None
            and not (one.unsent or one.is_practice)
            and one.trial.part is not Part.UNAWARE
        ]
        first = {(one.reader, one.case) for one in counting if not one.is_repeat}
        late = sum(one.is_repeat and (one.reader, one.case) not in first for one in counting)
        return f", but for {late} of which the first showing has no answer that counts" * bool(late)

    def display(self) -> list[str]:
        """How large images were on the screen, and what readers could do to them."""
        design, display = self._design, self._content.display
        size = (
            f"{design.size_mm:g} mm wide on screens that readers matched to a card"
            if design.size_mm
            else f"up to {display.shown_css_px} CSS pixels wide"
        )
        free = ["brightness and contrast"] if design.window else []
        free += ["enlargement"] if design.zoom else []
        could = f"readers could change {' and '.join(free)}" if free else "nothing could be changed"
        low, high = self._content.window_hu
        window = "" if self._answers.study.kind == ImageKind.UNCALIBRATED else (
            f", window {_signed(low)} to {_signed(high)} HU")  # fmt: skip
        sides = [
            float(one.reading.view["px"])
            for one in self._answers.lines
            if one.reading is not None and "px" in one.reading.view
        ]
        seen = ""
        if sides:
            seen = f" (as browsers reported it, median {median(sides):g} CSS pixels)"
        grid = (
            " Every image, real or synthetic, was resampled once on a grid of its own, so that "
            "none equals a stored one."
            if design.redrawn
            else ""
        )
        return [
            f"Images of {display.roi_px} × {display.roi_px} pixels were shown {size}{seen}, "
            f"{display.interpolation} interpolation{window}; {could}.{grid}"
        ]

    # -- audit and plan ------------------------------------------------------------------------

    def audit(self) -> list[str]:
        """What the frozen leak audit found."""
        if not self._content.audit:
            return ["No leak audit was made."]
        found = details_of(self._content.audit)
        if found.classifier is None:
            return [f"A leak audit was not possible: {found.text}"]
        marked = [one for one in found.features if one.verdict != Colour.GREEN]
        said = (
            f"A leak audit of the images before the opening was {found.verdict} "
            f"({found.n.real} real, {found.n.synthetic} synthetic"
        )
        if found.n.practice:
            said += f", {found.n.practice} of practice with them"
        if not marked and found.classifier.verdict is not Colour.GREEN:
            return [f"{said}): no single feature told real from synthetic, but all together did."]
        if not marked:
            return [f"{said}): no cheap feature told real from synthetic."]
        marked.sort(key=lambda one: -one.auc)
        told = "; ".join(
            f"{one.name}, AUC {one.auc:.2f}"
            + ("" if one.low is None else f" ({one.low:.2f} to {one.high:.2f})")
            for one in marked[:_MOST]
        )
        if len(marked) > _MOST:
            told += f"; and {len(marked) - _MOST} more"
        return [f"{said}): readers could have used {told}."]

    def plan(self) -> list[str]:
        """When the protocol was frozen, what it sets out to show, and what was amended."""
        versions, design = self._answers.versions, self._content.design
        intent = design.intent
        said = [
            f"The protocol was frozen on {versions.every[0].frozen_at:%Y-%m-%d}, before reading."
        ]
        if intent.primary is None:
            said.append("No primary hypothesis was named.")
        else:
            reason = intent.margin_reason.rstrip(".")
            why = f"Reason for the margin: {reason}." if reason else (
                "No reason for the margin was given.")  # fmt: skip
            words = intent.primary.sentence(design.margin, design.measure)
            said.append(f"Primary hypothesis: {words}. {why} Everything else is secondary.")
        if intent.missing is not None:
            said.append(f"Missing answers: {intent.missing.words}.")
        return said + [_amended(one) for one in versions.amendments]


def _amended(one: Amendment) -> str:
    """An amendment: what, when, after how many answers, by whom, why, and what it changes."""
    changes = "; ".join(f"{c.words} from “{c.before}” to “{c.after}”" for c in one.changes)
    effect = (
        "The primary analysis is by the version before the first answer."
        if one.late
        else "The study is judged by this version."
    )
    return (
        f"Amendment (version {one.protocol.version}, {one.protocol.frozen_at:%Y-%m-%d}, "
        f"{one.after}, by {one.protocol.frozen_by.name}, because “{one.protocol.reason}”): "
        f"{changes}. {effect}"
    )


def _each(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _or(parts: Sequence[str]) -> str:
    return ", or ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _list(parts: Sequence[str]) -> str:
    return ", and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _screen(row: Conduct) -> str:
    width, height = row.screen.get("screen_width"), row.screen.get("screen_height")
    if not (width and height):
        return "screen not known"
    ratio = row.screen.get("dpr")
    pixels = f"screen of {width:g} × {height:g} CSS pixels"
    return f"{pixels} of {ratio:g} device pixels" if ratio and ratio != 1 else pixels
