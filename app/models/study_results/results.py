"""Results: what a reader study found, ready for a page. There are none before its Unblinding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.ground.blob import Blob
from app.models.reader_studies.audit import details_of
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.task import Task
from app.models.reader_studies.trial import Trial
from app.models.reader_studies.unblinded import Unblinded
from app.models.reader_studies.unblinding import Unblinding
from app.models.reader_studies.versions import Versions
from app.models.study_results.analysis import Analysis, Content, Enrolled, Found, compute
from app.models.study_results.answers import Answers, reader_code
from app.models.study_results.held_out import Classify
from ml.leak_audit.record import Feature, Group, Images
from ml.readers import choice_words, grade_words, preference_words, unaware, words
from ml.readers.choice_results import ChoiceResult, ChoicesAcross, ChoicesOfReader
from ml.readers.grade_results import GradeResult, GradesAcross, GradesOfReader
from ml.readers.preference_results import (
    PreferenceResult,
    PreferencesAcross,
    PreferencesOfReader,
)
from ml.readers.results import Across, NetworkAccuracy, ReaderResult, Refused, Result
from ml.readers.unaware import UnawareResult
from ml.statistics.scale_use import ScaleRule


@dataclass(frozen=True)
class AreaRow:
    """A row of the forest plot: an area or a share (0–1) with its 95 % and 90 % intervals.

    None where there is none.
    """

    label: str
    auc: float | None
    low: float | None
    high: float | None
    low90: float | None
    high90: float | None
    mean: bool = False


@dataclass(frozen=True)
class Results:
    """The kept analysis of a study, with the names behind the readers' codes.

    ``data`` is the JSON as it is kept, ``content`` the same with its types.
    """

    study: ReaderStudy
    unblinding: Unblinding
    analysis: Analysis
    data: bytes
    content: Content
    names: dict[str, str]
    versions: Versions

    @classmethod
    def kept(cls, session: Session, unblinded: Unblinded) -> Results | None:
        """The results, if they were computed before."""
        study, unblinding = unblinded.study, unblinded.unblinding
        analysis = Analysis.kept(session, unblinding)
        if analysis is None:
            return None
        data = Blob.read(session, analysis.digest)
        content = Content.read(data)
        names = _names(session, study)
        return cls(study, unblinding, analysis, data, content, names, unblinded.versions)

    @staticmethod
    def trials_to_compute(session: Session, unblinded: Unblinded) -> int:
        """How many trials wait for their analysis; 0 once it is kept."""
        if Analysis.kept(session, unblinded.unblinding) is not None:
            return 0
        return session.scalars(
            sa.select(sa.func.count())
            .select_from(Trial)
            .join(Enrolment, Enrolment.id == Trial.enrolment_id)
            .where(Enrolment.study_id == unblinded.study.id)
        ).one()

    @classmethod
    def of(cls, look: Session, db: Session, unblinded: Unblinded, classify: Classify) -> Results:
        """The results, computed and kept if this is the first look.

        Args:
            look: for reading; the analysis runs before anything is locked.
            db: for keeping what was computed.
            unblinded: its study is loaded through ``look``.
            classify: how a network classifies ROIs.
        """
        found = cls.kept(look, unblinded)
        if found is not None:
            return found
        computed = compute(look, Answers.of(look, unblinded), classify)
        study, unblinding = unblinded.study, unblinded.unblinding
        analysis = Analysis.keep(db, unblinding.id, computed)
        names = _names(look, study)
        content = Content.read(computed.data)
        return cls(study, unblinding, analysis, computed.data, content, names, unblinded.versions)

    @property
    def result(self) -> Found:
        """What the analysis of the study's task said."""
        return self.content.result

    @property
    def rated(self) -> Result | ChoiceResult | GradeResult | PreferenceResult:
        """The analysis of what was rated or chosen: of an unaware study, its second part."""
        return self.result.detection if isinstance(self.result, UnawareResult) else self.result

    @property
    def task(self) -> Task:
        """What readers did."""
        return self.study.design.task

    @property
    def sentences(self) -> list[str]:
        """What was found, in words: how many read what, then each reader, then readers at large.

        An analysis that was kept in other words keeps them.
        """
        if isinstance(self.result, ChoiceResult):
            said = choice_words.sentences(self.result)
        elif isinstance(self.result, UnawareResult):
            said = unaware.sentences(self.result)
        elif isinstance(self.result, GradeResult):
            said = grade_words.sentences(self.result)
        elif isinstance(self.result, PreferenceResult):
            said = preference_words.sentences(self.result)
        else:
            said = words.sentences(self.result)
        return said if " ".join(said) == self.result.summary else [self.result.summary]

    @property
    def protocol(self) -> Protocol:
        """The version of the protocol that the study is judged by."""
        return self.versions.primary

    @property
    def holds(self) -> bool:
        """Whether every version of the protocol is still as it was frozen."""
        return all(one.holds for one in self.versions.every)

    @property
    def judged_by(self) -> int | None:
        """The version that the kept analysis went by; None where no version has its hash."""
        digest = self.content.protocol_hash
        return next((one.version for one in self.versions.every if one.digest == digest), None)

    @property
    def notes(self) -> list[str]:
        """What was to be known of the images, but for what the result says otherwise.

        Notes of earlier versions said of repeated patients that intervals are too narrow; where
        they are clustered by patient, they are not.
        """
        wrong = "Images of one patient are alike, so intervals are too narrow."
        found = self.rated
        if isinstance(found, ChoiceResult):
            clustered = found.choices.clustered
        elif isinstance(found, PreferenceResult):
            clustered = False
        else:
            counts = found.grades if isinstance(found, GradeResult) else found.counts
            clustered = counts.clustered
        if not clustered:
            return list(self.study.notes)
        return [note.replace(wrong, "").rstrip() for note in self.study.notes]

    @property
    def silent(self) -> list[str]:
        """Readers who answered nothing."""
        return [one.reader for one in self.content.enrolled if not one.answered]

    @property
    def unruled(self) -> list[str]:
        """Readers whose verdict was kept before there was a rule, and who would have none by it."""
        if not isinstance(self.rated, Result) or self.rated.scale_rule is not None:
            return []
        told = []
        for entry in self.rated.readers:
            given = [
                row.rating for row in entry.rating_use for _ in range(row.real + row.synthetic)
            ]
            fault = ScaleRule().fault(given)
            if fault is not None:
                told.append(f"reader {entry.reader} ({fault})")
        return told

    @property
    def unfinished(self) -> list[Enrolled]:
        """Readers who answered some trials but not all."""
        return [one for one in self.content.enrolled if 0 < one.answered < one.trials]

    @property
    def profiles(self) -> dict[str, str]:
        """Reader code → years, subspecialty and room, as said before trial 1."""
        return {
            one.reader: f"{one.years:g} years, {one.subspecialty}, {one.room} room"
            for one in self.content.enrolled
            if one.years is not None
        }

    @property
    def audit(self) -> list[Feature]:
        """Traces and content of the frozen leak audit: what readers could have used.

        Raises:
            Damaged: what is frozen is no record of an audit.
        """
        frozen = self.protocol.content.audit
        if not frozen:
            return []
        return [row for row in details_of(frozen).features if row.group is not Group.RENDERING]

    @property
    def audited(self) -> int:
        """How many images that audit is of, practice with them where it was audited."""
        frozen = self.protocol.content.audit
        counted = details_of(frozen).n if frozen else Images(0, 0)
        return counted.real + counted.synthetic + counted.practice

    @property
    def areas(self) -> list[AreaRow]:
        """Rows of the forest plot: each reader, then the mean over readers where it was had."""
        found = self.rated
        if isinstance(found, GradeResult | PreferenceResult):
            return []
        return _areas(found.readers, found.across)

    @property
    def grade_areas(self) -> list[list[AreaRow]]:
        """The same of graded realism, for each question."""
        found = self.result
        if not isinstance(found, GradeResult):
            return []
        return [_areas(one.readers, one.across) for one in found.questions]

    @property
    def contest_areas(self) -> list[list[AreaRow]]:
        """The same of preferences, for each contest: shares."""
        found = self.result
        if not isinstance(found, PreferenceResult):
            return []
        return [_areas(one.readers, one.across) for one in found.contests]

    @property
    def longest_s(self) -> float:
        """The top of the plots of time, even seconds: above every upper quartile."""
        tops = [block.seconds.high for curve in self.content.curves for block in curve.blocks]
        return 2.0 * math.ceil(max([1.0, *tops]) / 2)

    @property
    def network(self) -> NetworkAccuracy | Refused:
        """The network's accuracy on the same images."""
        found = self.result.diagnosis if isinstance(self.result, UnawareResult) else self.result
        if isinstance(found, ChoiceResult | GradeResult | PreferenceResult):
            return Refused("lesion classes were not asked for")
        said = found.lesion_class
        return said if isinstance(said, Refused) else said.network


def _areas(
    readers: Sequence[ReaderResult | ChoicesOfReader | GradesOfReader | PreferencesOfReader],
    across: Across | ChoicesAcross | GradesAcross | PreferencesAcross,
) -> list[AreaRow]:
    rows = []
    for entry in readers:
        if isinstance(entry, PreferencesOfReader):
            figure = entry.interval
        else:
            figure = entry.primary if isinstance(entry, ChoicesOfReader) else entry.auc
        narrow = entry.verdict.equivalence_interval
        rows.append(
            AreaRow(entry.reader, figure.value, figure.low, figure.high, narrow.low, narrow.high)
        )
    random, verdict = across.random, across.verdict
    if verdict is not None and not isinstance(random, Refused):
        rows.append(
            AreaRow(
                "mean",
                random.mean.value,
                max(0.0, random.mean.low),
                min(1.0, random.mean.high),
                max(0.0, verdict.equivalence_low),
                min(1.0, verdict.equivalence_high),
                mean=True,
            )
        )
    return rows


def _names(session: Session, study: ReaderStudy) -> dict[str, str]:
    return {
        reader_code(one.number): one.reader.name for one in Enrolment.of_study(session, study.id)
    }
