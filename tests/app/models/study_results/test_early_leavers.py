"""Readers who leave early, in studies of every task: the page, what is printed of it, every export.

What one reader did not read is "none read" of theirs, and is left out of nobody else's figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

import answered
import studies
from app.models.reader_studies import graded
from app.models.reader_studies.design import DESIGNS, Design
from app.models.reader_studies.intent import Intent, Primary
from app.models.reader_studies.task import Part, Task
from app.models.study_results.exports import EXPORTS
from ml.lesion import LIVER
from ml.readers.hypothesis import Claim, Whose
from ml.readers.pairs import Side

UNAWARE = replace(DESIGNS["unaware"].design, debriefing_confirmed=True)
TASKS: Mapping[str, Design] = {
    "ratings": Design(),
    "pairs": Design(task=Task.CHOICE, lesion_class=False),
    "preference": Design(task=Task.PREFERENCE, lesion_class=False),
    "realism": Design(task=Task.REALISM, graded=graded.QUESTIONS[:2], lesion_class=False),
    "unaware": UNAWARE,
}
AT_LARGE = Intent(Primary(Claim.DIFFERENT, Whose.LIKE_THESE))
IMAGES = 9
WORDS = (studies.SOURCE_WORD, "otherone")


def composed(session, design, *, real=IMAGES, of_one_patient=False):
    """A study of two generators that three readers read; several lesions of a patient if said."""
    researcher = studies.make_user(session, "maker", "researcher")
    names = [row.name for word in WORDS for row in studies.make_generators(session, word=word)]
    each = 2 if of_one_patient else 3
    if real:
        studies.make_known_lesions(session, each)
    for place, key in enumerate(LIVER.keys if of_one_patient else ()):
        [more] = studies.make_lesion(session, 100 * place, boxes=[(40, 40)], study=f"later {place}")
        studies.review(session, more, key)
    study = studies.compose(
        session, researcher, title="Early leavers", scheme=LIVER, real=real, synthetic=IMAGES,
        seed=7, design=design, draw=studies.draw, generators=names,
    )  # fmt: skip
    for number in range(1, 4):
        reader = studies.make_user(session, f"reader{number}")
        studies.check_in(session, study.enrol(session, reader, researcher), study)
    study.open(session, researcher, study.pictures(session, studies.draw))
    return study


def given(design: Design, trial) -> dict[str, object]:
    """An answer of its task, neither always the same nor always right."""
    odd = trial.position % 3
    if design.task.is_paired:
        side = list(Side)[odd % 2]
        return {"rating": None, "lesion_class": None, "choice": side.value}
    if design.graded:
        return {"rating": None, "lesion_class": None, "grades": [1 + odd, 5 - odd]}
    if trial.part is Part.UNAWARE:
        return {"rating": None}
    rated = {"rating": (1, 3, 5)[odd]}
    return rated if trial.part is Part.WHOLE else {**rated, "lesion_class": None}


def read(session, study, counts, part: Part | None = None) -> None:
    """Each reader answers so many trials, in order; of that part alone if one is named."""
    for number, many in enumerate(counts, 1):
        trials = answered.trials_of(session, answered.enrolment_of(session, study, number))
        own = [one for one in trials if part is None or one.part is part]
        for trial in own[:many]:
            answered.add(session, trial, **given(study.design, trial))


def looked_at(session, study, signed_in_as):
    """The page of results; that of images and every export answer too."""
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    session.commit()
    browser = signed_in_as("researcher", name="rhea")
    url = f"/reader-studies/{study.id}"
    found = browser.get(f"{url}/results")
    assert found.status_code == 200, found.text
    assert browser.get(f"{url}/results").status_code == 200  # as it is kept
    for path in ("results/images", *(f"exports/{name}" for name in ("results.json", *EXPORTS))):
        answer = browser.get(f"{url}/{path}")
        assert answer.status_code in (200, 409), (path, answer.text)
    return found.text


def table(page: str, title: str) -> list[list[str]]:
    """The words of the cells of a table, row by row, that stands below this heading."""
    rows = page.split(f">{title}</h3>", 1)[1].split("</table>", 1)[0].split("<tr>")[1:]
    return [
        [
            " ".join(re.sub(r"<[^>]+>", " ", cell).split())
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def left(place: int, after: int, whole: int = 99) -> list[int]:
    counts = [whole] * 3
    counts[place] = after
    return counts


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("task", [name for name in TASKS if name != "unaware"])
def test_a_reader_who_leaves_early_breaks_nothing(session, signed_in_as, task, place, after):
    design = TASKS[task]
    study = composed(session, design, real=IMAGES if design.task.shows_real else 0)
    read(session, study, left(place, after))
    page = looked_at(session, study, signed_in_as)
    assert "answered nothing" in page if after == 0 else f"answered {after} of" in page


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("task", ["ratings", "pairs", "realism"])
def test_nor_where_images_are_of_one_patient(session, signed_in_as, task, place):
    study = composed(session, TASKS[task], of_one_patient=True)
    read(session, study, left(place, 1))
    looked_at(session, study, signed_in_as)


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("part", [Part.UNAWARE, Part.TOLD])
def test_nor_in_either_part_of_an_unaware_study(session, signed_in_as, part, place, after):
    study = composed(session, UNAWARE)
    if part is Part.TOLD:
        read(session, study, [99] * 3, Part.UNAWARE)
    read(session, study, left(place, after), part)
    looked_at(session, study, signed_in_as)


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("task", TASKS)
def test_nor_where_all_leave(session, signed_in_as, task, after):
    design = TASKS[task]
    study = composed(session, design, real=IMAGES if design.task.shows_real else 0)
    read(session, study, [after] * 3)
    looked_at(session, study, signed_in_as)


def test_what_the_first_reader_did_not_read_is_shown_of_the_others(session, signed_in_as):
    study = composed(session, TASKS["pairs"])
    read(session, study, [1, 99, 99])
    page = looked_at(session, study, signed_in_as)
    classes = table(page, "By lesion class")
    assert classes[0] == ["Reader", *sorted(LIVER.keys)]
    assert [sum("none read" in cell for cell in row) for row in classes[1:]] == [2, 0, 0]
    generators = table(page, "By generator")
    assert len(generators[0]) == 3
    for rows in (classes, generators):
        of_second = [int(n) for cell in rows[2][1:] for n in re.findall(r"\d+ of (\d+)", cell)]
        assert sum(of_second) == IMAGES


def test_a_second_part_that_nobody_reached_is_told_of_that_part(session, signed_in_as):
    study = composed(session, UNAWARE)
    read(session, study, [9, 8, 8], Part.UNAWARE)
    page = looked_at(session, study, signed_in_as)
    assert "before an answer came in" not in page
    assert "There is no answer that counts, so nothing can be said" not in page
    assert "No answer of the second part counts, so nothing can be said of it." in page
    assert "No image was rated in the second part" in page
    assert "It was unblinded before an answer of that part came in" in page
    assert "In the first part 3 readers" in page  # the methods, ready to paste


def test_a_study_that_nobody_read_is_told_as_before(session, signed_in_as):
    page = looked_at(session, composed(session, UNAWARE), signed_in_as)
    assert "No image was rated</" in page
    assert "It was unblinded before an answer came in" in page
    assert "There is no answer that counts, so nothing can be said." in page


@pytest.mark.parametrize("withdrawn", [False, True])
def test_readers_who_left_speak_for_nobody_at_large(session, signed_in_as, withdrawn):
    study = composed(session, replace(TASKS["ratings"], intent=AT_LARGE))
    maker = studies.make_user(session, "maker", "researcher")
    if withdrawn:
        answered.enrolment_of(session, study, 2).withdraw(session, maker, "has no time left")
    session.commit()
    page = signed_in_as("researcher", name="rhea").get(f"/reader-studies/{study.id}").text
    assert ("which needs three readers or more" in page) is withdrawn
