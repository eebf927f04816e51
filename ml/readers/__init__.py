"""Analysis of multi-reader multi-case (MRMC) studies, without the web.

Needs NumPy and SciPy, and nothing of the rest of Hepatica but ``ml.statistics`` and ``ml.ground``::

    from ml import readers

    ratings = readers.load("study.csv")          # long CSV, or .imrmc
    found = readers.analyse_ratings(ratings)     # each reader; random and fixed readers
    print(readers.analysis_text(found))

    trials = readers.load_trials("analysis.csv") # the export of a study
    result = readers.analyse(trials, readers.Protocol(margin=0.10))
    print(result.summary)

What there is:

* **load**: `load`, `parse` (files of ratings → `Ratings`), `load_trials` (→ list of `Reading`),
  `load_pairs` (of a forced choice → list of `PairReading`), `load_grades` (of graded realism → list
  of `GradedReading`), `load_diagnoses` (the first part of an unaware study → list of `Reading`).
* **analyse**: `analyse` (`Reading` → `Result`, everything a study's page shows), `analyse_choices`
  (`PairReading` → `ChoiceResult`, likewise), `analyse_grades` (`GradedReading` and
  `GradedQuestion` → `GradeResult`, likewise), `analyse_preferences` (`PairReading` of two
  generators → `PreferenceResult`, likewise), `analyse_unaware` (both parts of an unaware study,
  and what readers `Noticed` → `UnawareResult`), `analyse_ratings`
  (`Ratings` → `RatingsAnalysis`: Obuchowski–Rockette with Hillis' degrees of freedom). A `Protocol`
  may name one `Hypothesis` (`Claim`, `Whose`), a plan for `Missing` answers and a rule for the
  number of the others (`Multiplicity`): then that one decides, and the rest is secondary.
* **plan**: `plan` (closed formulas, a quick first look); `Planning` (the same, and the simulation
  that counts: power of a claim, with its interval); `estimate_pilot` (`Ratings` → what to assume of
  readers, and how surely); `plan_first_part` (`FirstPart` of an unaware study → its power).
* **simulate**: `simulate` (one study of Roe–Metz readers), `Rehearsal` (many, through `analyse`).
* **export**: `to_long_csv` (MRMCaov), `to_imrmc` (iMRMC, RJafroc), ``Result.to_json`` and its
  `result_schema`.

Truth is 1 for synthetic (signal present), 0 for real; a larger rating means surer that it is
synthetic. Every refusal is a `ReadersError` that says what, of what, and what to do. Each name is
loaded when it is first used. ``example.ipynb`` beside this file walks through all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.readers.analysis import analyse
    from ml.readers.choice import analyse_choices
    from ml.readers.choice_results import ChoiceResult
    from ml.readers.exchange import imrmc as to_imrmc
    from ml.readers.exchange import long_csv as to_long_csv
    from ml.readers.files import load, parse
    from ml.readers.grade_results import GradeResult
    from ml.readers.grades import GradedQuestion, GradedReading
    from ml.readers.grading import analyse_grades
    from ml.readers.hypothesis import Claim, Hypothesis, Missing, Multiplicity, Whose
    from ml.readers.pairs import PairReading
    from ml.readers.pilots import PilotStudy
    from ml.readers.pilots import estimate as estimate_pilot
    from ml.readers.planning import Planning, StudyPlan
    from ml.readers.preference import analyse_preferences
    from ml.readers.preference_results import PreferenceResult
    from ml.readers.reading import Protocol, Reading
    from ml.readers.rehearsal import Design, Outcome, Rehearsal, RoeMetz, simulate
    from ml.readers.results import Result
    from ml.readers.results import schema as result_schema
    from ml.readers.tables import (
        RatingsAnalysis,
        analyse_ratings,
        analysis_text,
        plan_text,
        rehearsal_text,
        study_plan_text,
    )
    from ml.readers.tidy import load as load_trials
    from ml.readers.tidy import load_diagnoses, load_grades, load_pairs
    from ml.readers.unaware import Noticed, UnawareResult, analyse_unaware
    from ml.readers.unaware_rehearsal import FirstPart, plan_first_part
    from ml.statistics.power import Plan, plan
    from ml.statistics.proportion import ReadersError
    from ml.statistics.ratings import Rating, Ratings

__all__ = [
    "ChoiceResult",
    "Claim",
    "Design",
    "FirstPart",
    "GradeResult",
    "GradedQuestion",
    "GradedReading",
    "Hypothesis",
    "Missing",
    "Multiplicity",
    "Noticed",
    "Outcome",
    "PairReading",
    "PilotStudy",
    "Plan",
    "Planning",
    "PreferenceResult",
    "Protocol",
    "Rating",
    "Ratings",
    "RatingsAnalysis",
    "ReadersError",
    "Reading",
    "Rehearsal",
    "Result",
    "RoeMetz",
    "StudyPlan",
    "UnawareResult",
    "Whose",
    "analyse",
    "analyse_choices",
    "analyse_grades",
    "analyse_preferences",
    "analyse_ratings",
    "analyse_unaware",
    "analysis_text",
    "estimate_pilot",
    "load",
    "load_diagnoses",
    "load_grades",
    "load_pairs",
    "load_trials",
    "parse",
    "plan",
    "plan_first_part",
    "plan_text",
    "rehearsal_text",
    "result_schema",
    "simulate",
    "study_plan_text",
    "to_imrmc",
    "to_long_csv",
]

_PLACES = {
    "ml.readers.analysis": ("analyse",),
    "ml.readers.choice": ("analyse_choices",),
    "ml.readers.choice_results": ("ChoiceResult",),
    "ml.readers.pairs": ("PairReading",),
    "ml.readers.preference": ("analyse_preferences",),
    "ml.readers.preference_results": ("PreferenceResult",),
    "ml.readers.grade_results": ("GradeResult",),
    "ml.readers.grades": ("GradedQuestion", "GradedReading"),
    "ml.readers.grading": ("analyse_grades",),
    "ml.readers.tidy": ("load_diagnoses", "load_grades", "load_pairs"),
    "ml.readers.unaware": ("Noticed", "UnawareResult", "analyse_unaware"),
    "ml.readers.unaware_rehearsal": ("FirstPart", "plan_first_part"),
    "ml.readers.files": ("load", "parse"),
    "ml.readers.hypothesis": ("Claim", "Hypothesis", "Missing", "Multiplicity", "Whose"),
    "ml.readers.pilots": ("PilotStudy",),
    "ml.readers.planning": ("Planning", "StudyPlan"),
    "ml.readers.reading": ("Protocol", "Reading"),
    "ml.readers.rehearsal": ("Design", "Outcome", "Rehearsal", "RoeMetz", "simulate"),
    "ml.readers.results": ("Result",),
    "ml.readers.tables": (
        "RatingsAnalysis", "analyse_ratings", "analysis_text", "plan_text", "rehearsal_text",
        "study_plan_text",
    ),
    "ml.statistics.power": ("Plan", "plan"),
    "ml.statistics.proportion": ("ReadersError",),
    "ml.statistics.ratings": ("Rating", "Ratings"),
}  # fmt: skip
_RENAMED = {
    "estimate_pilot": ("ml.readers.pilots", "estimate"),
    "load_trials": ("ml.readers.tidy", "load"),
    "result_schema": ("ml.readers.results", "schema"),
    "to_imrmc": ("ml.readers.exchange", "imrmc"),
    "to_long_csv": ("ml.readers.exchange", "long_csv"),
}
_WHERE = _RENAMED | {name: (place, name) for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, own = _WHERE[name]
    return getattr(import_module(place), own)


def __dir__() -> list[str]:
    return sorted(__all__)
