import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml.readers import words
from ml.readers.analysis import analyse
from ml.readers.reading import Protocol, Reading, present, ratings, ratings_by_generator
from ml.readers.results import Refused, Result
from ml.statistics import mrmc
from ml.statistics.proportion import ReadersError, wilson

QUICK = Protocol(resamples=200, classes=("cyst", "metastasis", "hemangioma"))


def readings(
    readers: int = 4,
    images: int = 60,
    skill: float = 0.5,
    generators: tuple[str, ...] = ("dcgan",),
    patients: int | None = None,
    seed: int = 0,
) -> list[Reading]:
    rng = np.random.default_rng(seed)
    found = []
    classes = QUICK.classes
    for j in range(readers):
        order = rng.permutation(images) + 1
        for k in range(images):
            synthetic = k % 2 == 0
            latent = rng.normal(3.5 + (skill if synthetic else -skill), 1.3)
            truth = classes[k % 3]
            found.append(
                Reading(
                    f"R{j + 1}",
                    f"c{k}",
                    synthetic,
                    int(np.clip(round(latent), 1, 6)),
                    generator=generators[k // 2 % len(generators)] if synthetic else None,
                    position=int(order[k]),
                    patient=None if synthetic else f"p{k % patients if patients else k}",
                    lesion_class=truth,
                    answered_class=truth if rng.random() < 0.7 else "cyst",
                    reasons=("texture",) if synthetic and rng.random() < 0.3 else (),
                    active_ms=int(rng.integers(1500, 9000)),
                )
            )
    return found


def said(result: Result) -> Any:
    """The result, which is JSON whatever was read, and comes back from it."""
    text = json.dumps(result.to_json(), allow_nan=False)
    assert Result.from_json(json.loads(text)) == result
    return result


def test_no_reading_gives_a_result_that_says_so() -> None:
    for empty in ([], [Reading("a", "c", True, None)]):
        found = said(analyse(empty))
        assert found.readers == () and "nothing can be said" in found.summary
        assert isinstance(found.across.random, Refused)


def test_one_class_of_image_gives_its_share_and_no_verdict() -> None:
    only = [r for r in readings(2) if r.synthetic]
    found = said(analyse(only, QUICK))
    first = found.readers[0]
    assert first.auc.value is None and "no real image" in first.auc.note
    assert first.specificity.value is None
    assert first.sensitivity.n == 30
    assert any("Every image is synthetic" in w for w in found.warnings)


def test_one_reader_is_never_generalised() -> None:
    found = said(analyse(readings(1), QUICK))
    assert "1 reader cannot speak for other readers" in found.across.random.refused
    assert isinstance(found.agreement, Refused)
    assert found.across.fixed.population.startswith("these readers")


def test_two_readers_get_fixed_reader_figures_and_the_reason_for_no_more() -> None:
    found = said(analyse(readings(2), QUICK))
    assert "at least 3" in found.across.random.refused
    assert found.across.fixed.treatments[0].auc > 0.5
    assert "Nothing is inferred for other readers" in found.methods


def test_a_reader_who_always_says_real_gets_no_verdict_though_half_is_right() -> None:
    same = [Reading("A", f"c{k}", k % 2 == 0, 1) for k in range(216)]
    found = said(analyse(same, QUICK))
    reader = found.readers[0]
    assert reader.accuracy.value == 0.5
    assert reader.accuracy.majority.value == 0.5
    assert reader.sensitivity.value == 0.0 and reader.specificity.value == 1.0
    assert reader.verdict.equivalent_to_chance is None
    assert "no verdict" in found.summary


def pressed(name: str, answers: list[int]) -> list[Reading]:
    """One reader's answers to images of which every second is synthetic."""
    return [Reading(name, f"c{k}", k % 2 == 0, one, position=k) for k, one in enumerate(answers)]


GUESSED = np.random.default_rng(1).integers(1, 7, 300).tolist()
ONE_KEY = [1] * 300


@pytest.mark.parametrize(
    ("lazy", "images", "told"),
    [
        ([ONE_KEY] * 3, 60, "reader A did not use the scale (60 of 60 answers are 1"),
        ([ONE_KEY, ONE_KEY, GUESSED], 60, "reader B did not use the scale (60 of 60 answers are 1"),
        ([GUESSED, GUESSED[1:], [1] * 298 + [2, 2]], 300, "reader C did not use the scale (298 of"),
    ],
)
def test_one_reader_who_did_not_use_the_scale_takes_the_verdict_of_all(
    lazy: list[list[int]], images: int, told: str
) -> None:
    rows = [r for name, given in zip("ABC", lazy, strict=True)
            for r in pressed(name, given[:images])]  # fmt: skip
    found = said(analyse(rows, QUICK))
    across = found.across
    assert across.verdict is None and told in across.no_verdict
    assert across.random.mean.high - across.random.mean.low > 0.05
    for text in (found.summary, found.methods):
        assert told in text and "at least 10 % of the answers off the commonest" in text


def test_two_generators_are_not_compared_by_readers_who_did_not_use_the_scale() -> None:
    rows = readings(3, generators=("dcgan", "acgan"))
    lazy = [r if r.reader != "R2" else Reading(r.reader, r.case, r.synthetic, 1,
            generator=r.generator) for r in rows]  # fmt: skip
    between = said(analyse(lazy, QUICK)).between_generators
    assert "reader R2 did not use the scale" in between.no_verdict
    assert between.random.p is None and between.random.differences[0].p is None
    assert between.random.difference.low < between.random.difference.high
    assert said(analyse(rows, QUICK)).between_generators.random.p is not None


def test_a_rule_that_the_protocol_did_not_fix_is_told() -> None:
    rows = readings(3, images=24)
    fixed = analyse(rows, QUICK)
    assert fixed.scale_rule.in_protocol and not any("part of the" in w for w in fixed.warnings)
    found = said(analyse(rows, replace(QUICK, scale_rule_in_protocol=False)))
    assert found.scale_rule.least_off == 0.1 and found.scale_rule.least_ratings == 3
    assert any("not part of the protocol" in w for w in found.warnings)
    assert "a rule that was not part of the protocol" in found.methods


def test_agreement_without_a_difference_has_no_interval_of_no_width() -> None:
    rows = [Reading(name, f"c{k}", k % 2 == 0, 1 + k % 6) for name in "AB" for k in range(24)]
    agreement = said(analyse(rows, QUICK)).agreement
    [pair] = agreement.pairs
    for figure in (pair.call.kappa, agreement.fleiss_call, agreement.alpha_rating):
        assert figure.value == pytest.approx(1)
        assert figure.low is None and figure.high is None
        assert "interval" in figure.note


def test_a_rating_beyond_the_scale_and_an_image_with_two_truths_are_refused() -> None:
    with pytest.raises(ReadersError, match="scale goes from 1 to 6"):
        analyse([Reading("A", "c", True, 7)])
    with pytest.raises(ReadersError, match="two truths"):
        analyse([Reading("A", "c", True, 3), Reading("B", "c", False, 3)])


@pytest.mark.parametrize("settings", [{"margin": 0.5}, {"scale": 1}, {"least_readers": 1}])
def test_an_impossible_protocol_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ReadersError):
        Protocol(**settings)


def test_the_paper_is_reproduced_chance_is_the_majority_share() -> None:
    """Frid-Adar et al.: 189 of 302 right where always answering "real" reaches 182 of 302."""
    rows = [Reading("1", f"r{k}", False, 1 if k < 120 else 6) for k in range(182)]
    rows += [Reading("1", f"s{k}", True, 6 if k < 69 else 1) for k in range(120)]
    accuracy = analyse(rows, QUICK).readers[0].accuracy
    assert accuracy.count == 189
    assert accuracy.majority.value == pytest.approx(182 / 302)
    assert accuracy.majority.p == pytest.approx(0.44, abs=0.01)
    assert accuracy.majority.text == 'always answering "real" reaches 60.3%'


def test_only_first_presentations_count_and_repeats_serve_the_same_reader() -> None:
    rows = readings(1)
    plain = analyse(rows, QUICK)
    again = [
        Reading(r.reader, r.case, r.synthetic, 7 - (r.rating or 1), generator=r.generator,
                position=1000 + k, is_repeat=k % 2 == 0)
        for k, r in enumerate(rows[:10])
    ]  # fmt: skip
    practice = [Reading("R1", "warm-up", True, 6, is_practice=True)]
    found = said(analyse(practice + again + rows, QUICK))
    assert found.readers[0].auc == plain.readers[0].auc
    assert found.readers[0].n == 60
    assert found.counts.repeats == 10 and found.counts.practice_left_out == 1
    assert found.readers[0].intra_reader.n == 10
    assert found.readers[0].intra_reader.rating.kappa.value < 0
    assert plain.readers[0].intra_reader is None


def test_a_second_presentation_that_counts_since_the_first_has_no_answer_is_said() -> None:
    rows = readings(1)
    missed = [replace(r, rating=None) if k < 3 else r for k, r in enumerate(rows)]
    again = [
        replace(r, position=1000 + k, is_repeat=k != 1, rating=None if k == 2 else r.rating)
        for k, r in enumerate(rows[:5])
    ]
    found = said(analyse(missed + again, QUICK))
    assert (found.counts.readings, found.counts.repeats, found.counts.late) == (59, 2, 2)
    told = "2 answers were given at a second showing whose first has no answer that counts"
    assert told in found.methods and any(told in one for one in found.warnings)
    assert analyse(rows, QUICK).counts.late == 0


def test_every_share_has_both_intervals_and_n() -> None:
    reader = analyse(readings(1), QUICK).readers[0]
    for share in (reader.accuracy, reader.sensitivity, reader.specificity):
        expected = wilson(share.count, share.n)
        assert (share.low, share.high) == (expected.low, expected.high)
        assert share.exact.low <= share.low or share.exact.high >= share.high
        assert share.exact.n == share.n


def test_across_readers_is_the_obuchowski_analysis_of_the_same_ratings() -> None:
    rows = readings(4)
    found = said(analyse(rows, QUICK))
    expected = mrmc.random_readers(ratings(present(rows).first))
    assert found.across.random == expected
    assert found.across.correct.figure == "mean"
    assert "random readers" in expected.population
    assert "pooled" not in json.dumps(found.to_json())


def test_generators_are_compared_by_jackknife_with_real_images_shared() -> None:
    rows = readings(4, generators=("dcgan", "acgan"))
    block = ratings_by_generator(rows)
    assert block.treatments == ("acgan", "dcgan")
    finite = np.isfinite(block.scores[:, 0])
    shared = finite.all(axis=0)
    assert (block.truth[shared] == 0).all() and shared.sum() == 30
    found = said(analyse(rows, QUICK)).between_generators
    assert found.random.covariance == "jackknife"
    difference = found.random.difference
    assert difference.low < difference.value < difference.high
    assert said(analyse(readings(4), QUICK)).between_generators is None


def test_several_images_of_one_patient_are_resampled_together_everywhere() -> None:
    found = said(analyse(readings(3, patients=7), QUICK))
    assert found.counts.clustered is True
    reader = found.readers[0]
    assert "patient-clustered" in reader.auc.method
    assert "patient-clustered" in reader.specificity.clustered.method
    assert reader.sensitivity.clustered is None
    assert found.across.random.covariance == "jackknife"
    assert "patients" in found.methods
    assert said(analyse(readings(3), QUICK)).counts.clustered is False


def test_the_summary_says_what_the_images_could_not_have_shown() -> None:
    rows = readings(2, images=50, skill=0.0, seed=3)
    text = analyse(rows, QUICK).summary
    assert text.startswith("Two readers, 50 images")
    assert "not shown to differ from chance" in text
    assert "equivalence within ±0.10 not shown, and 50 images could not have shown it" in text


def test_the_network_stands_beside_the_readers_or_is_refused() -> None:
    rows = readings(2)
    assert "out-of-fold" in analyse(rows, QUICK).lesion_class.network.refused
    told = {r.case: r.lesion_class or "" for r in rows}
    found = said(analyse(rows, Protocol(resamples=200, classes=QUICK.classes, network=told)))
    assert found.lesion_class.network.total.value == 1.0
    assert found.readers[0].lesion_class.against_network.p < 0.01
    assert sum(map(sum, found.readers[0].lesion_class.confusion)) == 60


def test_agreement_reports_pairs_and_all_readers() -> None:
    found = said(analyse(readings(3), QUICK)).agreement
    assert len(found.pairs) == 3 and found.cochran.df == 2
    of_all = (
        found.fleiss_call, found.alpha_rating, found.fleiss_class, found.alpha_class,
    )  # fmt: skip
    for figure in of_all:
        assert figure.low <= figure.value <= figure.high


def test_readers_who_left_off_keep_their_own_figures_and_enter_by_jackknife() -> None:
    rows = [r for r in readings(4) if not (r.reader == "R4" and r.position > 30)]
    found = said(analyse(rows, QUICK))
    assert found.readers[3].n == 30
    assert found.across.random.covariance == "jackknife"
    rows = [r for r in rows if not (r.reader == "R4" and r.synthetic)]
    found = said(analyse(rows, QUICK))
    assert found.across.left_out == ("R4",)


def test_reasons_name_the_generator_they_give_away() -> None:
    found = said(analyse(readings(2), QUICK)).reasons
    assert found[0].generator == "dcgan" and found[0].reason == "texture"
    assert found[0].excess.low > 0


def changed(found: Any, path: str, value: Any) -> Any:
    """The JSON of a result with one thing changed; ``...`` takes it away."""
    data = found.to_json()
    *way, last = path.split("/")
    part = data
    for step in way:
        part = part[int(step) if step.isdigit() else step]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("margin", ..., "margin is missing"),
        ("readers/0/auc/low", ..., "readers[0].auc.low is missing"),
        ("readers/0/verdict/power", "much", "readers[0].verdict.power must be a number"),
        ("counts/patients", 1.5, "counts.patients must be a whole number"),
        ("mood", "good", "mood: nothing of that name is known"),
        ("across/random/covariance", "guessed", "one of delong, sample, jackknife"),
        ("version", 2, "version 2"),
    ],
)
def test_json_that_is_no_result_is_refused_by_its_place(path: str, value: Any, told: str) -> None:
    found = analyse(readings(3, images=24), QUICK)
    with pytest.raises(ReadersError, match=re.escape(told)):
        Result.from_json(changed(found, path, value))


def test_a_result_without_a_version_is_of_the_first() -> None:
    found = analyse(readings(3, images=24), QUICK)
    assert "version" not in found.to_json()
    assert Result.from_json(found.to_json() | {"version": 1}) == found


def test_the_sentences_are_those_of_the_summary() -> None:
    found = analyse(readings(3), QUICK)
    said = words.sentences(found)
    assert [text.split(":")[0].split(",")[0] for text in said] == [
        "Three readers", "Reader R1", "Reader R2", "Reader R3",
        "Readers like these on images like these",
    ]  # fmt: skip
    assert " ".join(said) == found.summary
