"""Results: what a reader study found, ready for a page. There are none before its Unblinding."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.ground.blob import Blob
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.trial import Trial
from app.models.reader_studies.unblinded import Unblinded
from app.models.reader_studies.unblinding import Unblinding
from app.models.study_results.analysis import Analysis, compute
from app.models.study_results.answers import Answers, reader_code
from app.models.study_results.held_out import Classify

Json = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The kept analysis of a study, with the names behind the readers' codes.

    ``data`` is the JSON as it is kept, ``content`` the same, parsed.
    """

    study: ReaderStudy
    unblinding: Unblinding
    analysis: Analysis
    data: bytes
    content: Json
    names: dict[str, str]

    @classmethod
    def kept(cls, session: Session, unblinded: Unblinded) -> Results | None:
        """The results, if they were computed before."""
        study, unblinding = unblinded.study, unblinded.unblinding
        analysis = Analysis.kept(session, unblinding)
        if analysis is None:
            return None
        data = Blob.read(session, analysis.digest)
        return cls(study, unblinding, analysis, data, json.loads(data), _names(session, study))

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
        return cls(study, unblinding, analysis, computed.data, json.loads(computed.data), names)

    @property
    def result(self) -> Json:
        """What `ml.readers.analysis.analyse` said."""
        found: Json = self.content["result"]
        return found

    @property
    def sentences(self) -> list[str]:
        """What was found, in words: how many read what, then each reader, then readers at large."""
        said: str = self.result["summary"]
        return re.split(r"(?<=\.) (?=Readers? )", said)

    @property
    def protocol(self) -> Protocol:
        """The protocol in force; an unblinded study has one."""
        return self.study.protocols[-1]

    @property
    def silent(self) -> list[str]:
        """Readers who answered nothing."""
        return [one["reader"] for one in self.content["enrolled"] if not one["answered"]]

    @property
    def unfinished(self) -> list[Json]:
        """Readers who answered some trials but not all."""
        return [one for one in self.content["enrolled"] if 0 < one["answered"] < one["trials"]]

    @property
    def profiles(self) -> dict[str, str]:
        """Reader code → years, subspecialty and room, as said before trial 1."""
        return {
            one["reader"]: f"{one['years']:g} years, {one['subspecialty']}, {one['room']} room"
            for one in self.content["enrolled"]
            if one["years"] is not None
        }

    @property
    def audit(self) -> list[Json]:
        """Content features of the frozen leak audit: what readers could have used."""
        frozen = self.protocol.content.audit or {"features": []}
        return [row for row in frozen["features"] if row["group"] == "content"]

    @property
    def areas(self) -> list[Json]:
        """Rows of the forest plot: each reader, then the mean over readers where it was had."""
        rows = []
        for entry in self.result["readers"]:
            narrow = entry["verdict"]["equivalence_interval"]
            rows.append(
                {
                    "label": entry["reader"],
                    "auc": entry["auc"]["value"],
                    "low": entry["auc"]["low"],
                    "high": entry["auc"]["high"],
                    "low90": narrow["low"],
                    "high90": narrow["high"],
                }
            )
        across = self.result["across"]
        if "refused" not in across["random"]:
            mean, verdict = across["random"]["treatments"][0], across["verdict"]
            rows.append(
                {
                    "label": "mean",
                    "auc": mean["auc"],
                    "low": max(0.0, mean["low"]),
                    "high": min(1.0, mean["high"]),
                    "low90": max(0.0, verdict["equivalence_low"]),
                    "high90": min(1.0, verdict["equivalence_high"]),
                    "mean": True,
                }
            )
        return rows

    @property
    def longest_s(self) -> float:
        """The top of the plots of time, even seconds: above every upper quartile."""
        tops: list[float] = [
            block["seconds"]["high"]
            for curve in self.content["curves"]
            for block in curve["blocks"]
        ]
        return 2.0 * math.ceil(max([1.0, *tops]) / 2)

    def network_class(self) -> Json:
        """The network's accuracy on the same images: figures, or ``{"refused": why}``."""
        said = self.result["lesion_class"]
        if "refused" in said:
            return {"refused": said["refused"]}
        found: Json = said["network"]
        return found


def _names(session: Session, study: ReaderStudy) -> dict[str, str]:
    return {
        reader_code(one.number): one.reader.name for one in Enrolment.of_study(session, study.id)
    }
