"""Ratings for the programs of the field: long CSV (MRMCaov) and ``.imrmc`` (iMRMC, RJafroc).

Truth is 1 for synthetic (signal present) and 0 for real (signal absent); a larger rating means
surer that it is synthetic. `ml.readers.files` reads what is written here.
"""

from __future__ import annotations

import re

import numpy as np

from ml.ground.delimited import written
from ml.readers.files import LONG_COLUMNS, ONE_PATIENT, PATIENT
from ml.statistics.ratings import Ratings

NARROW = (
    "Several cases are of one patient, of which programs that take them for so many patients make "
    "intervals that are too narrow."
)
_TRUTH_READER = -1
"""The reader of the rows of truth. iMRMC also takes the word "truth", RJafroc only this."""


def long_csv(ratings: Ratings) -> str:
    """``reader,treatment,case,truth,rating``, one row per rating; MRMCaov reads the same.

    Where several cases are of one patient a sixth column says so, of which MRMCaov takes no notice.
    """
    patient = {
        case: f"P{number}"
        for number, cases in enumerate(ratings.of_one_patient, start=1)
        for case in cases
    }
    more = (PATIENT,) if patient else ()
    return written(
        (*LONG_COLUMNS, *more),
        (
            (
                *(row.reader, row.treatment, row.case, row.truth, _number(row.score)),
                *(patient.get(row.case, "") for _ in more),
            )
            for row in ratings.rows()
        ),
    )


def imrmc(ratings: Ratings, title: str) -> str:
    """iMRMC's text form: free text, NR, N0, N1, NM, rows of truth, then reader,case,modality,score.

    Readers and cases are whole numbers (see `reader_numbers`), because RJafroc takes nothing else;
    the free text says who is who, and which cases are of one patient. Names of modalities lose
    commas and white space, which the format cannot hold, and the free text its colons, which iMRMC
    would take for sizes.
    """
    cases, treatments = case_numbers(ratings), modality_names(ratings)
    readers = reader_numbers(ratings)
    present = int(ratings.truth.sum())
    free = [title, *(f"reader {number} is {name}" for name, number in readers.items())]
    together = ratings.of_one_patient
    if together:
        free.append(NARROW)
        free += (f"{ONE_PATIENT} {' '.join(str(cases[one]) for one in of)}" for of in together)
    refused = rjafroc_refuses(ratings)
    if refused:
        free.append(f"iMRMC reads this file; RJafroc does not, because {refused}")
    lines = [
        *(_free(line) for line in free),
        f"NR: {len(readers)}",
        f"N0: {len(cases) - present}",
        f"N1: {present}",
        f"NM: {len(treatments)}",
        "BEGIN DATA:",
    ]
    for case, truth in zip(ratings.cases, ratings.truth, strict=True):
        lines.append(f"{_TRUTH_READER},{cases[case]},truth,{truth}")
    for row in ratings.rows():
        lines.append(
            f"{readers[row.reader]},{cases[row.case]},{treatments[row.treatment]},"
            f"{_number(row.score)}"
        )
    return "\n".join(lines) + "\n"


def rjafroc_refuses(ratings: Ratings) -> str | None:
    """Why RJafroc cannot read the ratings as ``.imrmc``; None where it can.

    Its reader (``DfReadDataFile(format = "iMRMC")``) wants every case from every reader under
    every modality, and at least one case of either kind.
    """
    present = int(ratings.truth.sum())
    if present in (0, len(ratings.cases)):
        return "it has no case of one kind"
    read = np.isfinite(ratings.scores)
    if read.all():
        return None
    if not read.any(axis=1).all():
        return "its modalities have different cases"
    for j, reader in enumerate(ratings.readers):
        missing = int((~read[:, j]).sum())
        if missing:
            return f"reader {reader} lacks {missing} of {read[:, j].size} ratings"
    return None


def case_numbers(ratings: Ratings) -> dict[str, int]:
    """Case → the whole number that stands for it in `imrmc`, from 1 in their order."""
    return {case: number for number, case in enumerate(ratings.cases, start=1)}


def reader_numbers(ratings: Ratings) -> dict[str, int]:
    """Reader → the whole number that stands for them in `imrmc`.

    Their own, where all are named by one (``7``, ``R7``) and no two by the same; else from 1 in
    their order.
    """
    own = [re.fullmatch(r"[A-Za-z]?0*([1-9]\d{0,8})", name) for name in ratings.readers]
    numbers = [int(found[1]) for found in own if found]
    if len(set(numbers)) == len(own):
        return dict(zip(ratings.readers, numbers, strict=True))
    return {name: number for number, name in enumerate(ratings.readers, start=1)}


def modality_names(ratings: Ratings) -> dict[str, str]:
    """Treatment → its name in `imrmc`, without what the format cannot hold; no two are alike."""
    plain: dict[str, str] = {}
    for name in ratings.treatments:
        base = re.sub(r"[^\w.+-]+", "_", name).strip("_.") or "x"
        if base.lower() == "truth":
            base = f"name_{base}"
        candidate, number = base, 2
        while candidate in plain.values():
            candidate, number = f"{base}_{number}", number + 1
        plain[name] = candidate
    return plain


def _free(text: str) -> str:
    # iMRMC finds "N0:" anywhere in a line of the head, in either case
    return " ".join(text.replace(":", " ").split()) or "-"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
