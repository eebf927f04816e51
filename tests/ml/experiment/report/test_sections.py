"""What a reviewer asks a report for: links, failures with pictures, limits, the items of CLAIM."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from ml.checkpoints.card.guidelines import CLAIM
from ml.dataset.about import About
from ml.experiment.outcomes import Collapsed
from ml.experiment.report import claim, data_set, failures, fidelity, generators, limits, page
from ml.experiment.results import Results
from ml.experiment.results.origin import GeneratorTimes, PartSize
from ml.statistics.figure import Figure
from tests.golden import stored_run

ABOUT = About(reference_standard="biopsy <all>")
_HEAD = "lesion,file,patient,arm,selection,seed,fold,truth,probability_a,probability_b\n"


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Results]:
    run = stored_run.unpacked(stored_run.TODAY, tmp_path)
    return run, Results.load(run)


def test_every_link_at_the_top_leads_to_its_section(stored: tuple[Path, Results]) -> None:
    run, results = stored
    html = page.render(results, run, None)
    links = re.findall('<li><a href="#([^"]+)">([^<]+)</a>', html)
    assert [title for _, title in links] == re.findall('<h2 id="[^"]+">([^<]+)</h2>', html)
    assert [place for place, _ in links] == re.findall('<h2 id="([^"]+)">', html)
    assert len(set(links)) == len(links) and "<h2>" not in html
    assert html.index("<nav") < html.index("<h2")


def test_failures_are_those_that_were_wrong_with_the_highest_probability(tmp_path: Path) -> None:
    rows = [
        # lesion, patient, arm, selection, seed, truth, of class a
        ("1", "p1", "classic", "nested", 0, "a", 0.9),  # right
        ("2", "p2", "classic", "nested", 0, "a", 0.4),
        ("2", "p2", "classic", "nested", 1, "a", 0.3),
        ("3", "p3", "classic", "nested", 0, "b", 0.55),  # right in the mean of its seeds
        ("3", "p3", "classic", "nested", 1, "b", 0.05),
        ("4", "<p4>", "classic", "nested", 0, "b", 0.8),
        ("4", "<p4>", "classic", "fixed", 0, "b", 0.99),
        ("1", "p1", "mixup", "nested", 0, "a", 0.1),  # an arm that is not shown
    ]
    lines = [
        f"{lesion},f,{patient},{arm},{how},{seed},0,{truth},{a},{1 - a:g}"
        for lesion, patient, arm, how, seed, truth, a in rows
    ]
    (tmp_path / "predictions.csv").write_text(_HEAD + "\n".join(lines) + "\n")
    views = tmp_path / "views" / "0"
    views.mkdir(parents=True)
    cut = np.arange(3 * 2, dtype=np.float16).reshape(3, 2, 1, 1) * np.ones((64, 64), np.float16)
    np.save(views / "0.npy", cut)
    told = [json.dumps({"line": lesion}) + "\n" for lesion in "224433"]
    (views / "0.jsonl").write_text("".join(told))

    found = failures.worst(tmp_path, ("a", "b"))
    assert list(found) == ["classic"]
    assert [(one.lesion, one.named, one.wrong, one.seeds) for one in found["classic"]] == [
        ("4", "a", 1, 1), ("2", "b", 2, 2),
    ]  # fmt: skip
    assert [one.probability for one in found["classic"]] == pytest.approx([0.8, 0.65])
    drawn: list[float] = []

    def picture(rois: np.ndarray) -> str:
        drawn.append(float(rois[0, 0, 0]))
        return "data:"

    html = failures.section(tmp_path, {"a": "class A", "b": "class B"}, 0, picture)
    assert drawn == [2.0, 0.0]  # the plain ROI of lesion 4, then that of 2
    assert "class B<br>named class A, 0.80" in html and "&lt;p4&gt;" in html
    assert failures.section(tmp_path / "views", {"a": "A", "b": "B"}, 0, picture) == ""


def test_the_smallest_effect_is_shown_four_times_in_five(stored: tuple[Path, Results]) -> None:
    error = 0.03
    ends = (0.01 - 1.959964 * error, 0.01 + 1.959964 * error)
    one = replace(stored[1].found.scores.comparisons[0], difference=Figure(0.01, *ends))
    effect = limits.smallest(one)
    assert effect is not None
    power = scipy.stats.norm.sf(1.959964, effect / error)
    assert power == pytest.approx(0.8, abs=1e-4)
    assert limits.smallest(replace(one, difference=Figure(0.0, None, None))) is None


@pytest.mark.parametrize("ends", [(-0.9, 0.8), (-0.2, 1.0), (-1.0, 0.5)])
def test_no_effect_is_named_that_there_cannot_be(
    stored: tuple[Path, Results], ends: tuple[float, float]
) -> None:
    results = stored[1]
    scores = results.found.scores
    wide = tuple(replace(one, difference=Figure(0.1, *ends)) for one in scores.comparisons)
    other = replace(
        results,
        found=replace(results.found, scores=replace(scores, comparisons=wide, primary=wide)),
    )
    html = limits.section(other)
    assert html.count("none, not even the greatest that there can be") == len(wide)
    assert re.search(r"[0-9] points<", html) is None


def test_what_is_measured_against_few_patients_says_so(stored: tuple[Path, Results]) -> None:
    run, results = stored
    data = results.found.dataset

    def cautions(**changed: Any) -> tuple[int, int]:
        other = replace(results, found=replace(results.found, dataset=replace(data, **changed)))
        html = page.render(other, run, None)
        return html.count("intervals over them are too narrow"), html.count("without any being")

    assert cautions(patients=19) == (2, 0) and cautions(patients=20) == (0, 0)  # in two folds
    few, enough = ({"train": PartSize(20, 10), "test": PartSize(30, n)} for n in (9, 10))
    assert cautions(split=few) == (2, 1) and cautions(split=enough) == (0, 1)


def test_limits_and_claim_say_what_was_tested_where(stored: tuple[Path, Results]) -> None:
    results = stored[1]
    known = claim.answers(results)
    assert known.keys() < {item.number for item in CLAIM.items}
    assert "2 folds, every patient tested once" in known["19"].lower() and known["33"] == "None."
    assert "no figure is one of patients" in limits.section(results)
    assert '<td class="left">not given</td>' in data_set.section(results.found.dataset)
    split = {"train": PartSize(20, 10), "test": PartSize(5, 4)}
    given = replace(results.found.dataset, split=split, kind="calibrated", about=ABOUT)
    other = replace(results, found=replace(results.found, dataset=given))
    assert "test 5 lesions of 4 patients" in claim.answers(other)["19"]
    assert claim.answers(other)["14"] == "The owner says: biopsy <all>"
    assert "biopsy &lt;all&gt;" in data_set.section(given)
    assert "stands under The data set" in limits.section(other)
    assert "Tested on the part that the data set names" in limits.section(other)
    assert "tested on 5 lesions of 4 patients alone" in page.render(other, stored[0], None)


def test_generators_stand_beside_each_other_with_what_they_took(
    stored: tuple[Path, Results],
) -> None:
    run, results = stored
    assert generators.rows(results) == []  # of an earlier run, which did not time them
    took = {"dcgan": GeneratorTimes(6, 90.0, 0.002), "acgan": GeneratorTimes(3, 90.0, None)}
    scores = results.found.scores
    primary = [
        replace(row, against="equal-compute", holm_p=0.5)
        for row in scores.comparisons
        if row.arm in ("classic+dcgan", "classic+acgan")
    ]
    timed = replace(
        results,
        run=replace(results.run, times=replace(results.run.times, generators=took)),
        found=replace(results.found, scores=replace(scores, primary=tuple(primary))),
    )
    rows = {row[0]: row for row in generators.rows(timed)}
    classes = len(results.found.dataset.scheme)
    assert rows["DCGAN"][-2:] == [f"{1.5 * classes:.2g}", "0.2"]  # one for each class
    assert rows["ACGAN"][-2:] == ["1.5", "–"]
    real = rows["real lesions"]
    assert real[4:] == ["–"] * 5  # neither copies nor an arm
    for found in primary:
        row = rows[found.arm.removeprefix("classic+").upper()]
        assert row[5].startswith(f"{100 * (found.difference.value or 0):+.1f} (")
        assert row[6].endswith(" (0.500)")
    assert generators.HEAD[1] in page.render(timed, run, None)
    assert all(len(row) == len(generators.HEAD) for row in rows.values())

    synthetic, gone = timed.found.synthetic, Collapsed("It collapsed.")
    fates = [one for one in synthetic.generators if one.kind == "acgan"]
    outer = [one for one in fates if one.of_held_out]
    without = tuple(
        replace(one, fared=gone) if one is outer[0] else one for one in synthetic.generators
    )
    found = replace(
        timed.found,
        synthetic=replace(synthetic, generators=without),
        scores=replace(scores, primary=(primary[0],), secondary=()),
    )
    row = generators.rows(replace(timed, found=found))[2]
    names = [line[0] for line in fidelity.by_network(found.synthetic)]
    assert row[0] in names and "DCGAN" in names
    assert f"{row[0]}, pixels" in page.render(replace(timed, found=found), run, None)
    assert row[0] == f"ACGAN, {len(outer) - 1} of {len(outer)} trainings" and len(outer) < len(
        fates
    )
    assert row[5:7] == ["collapsed", "–"]
