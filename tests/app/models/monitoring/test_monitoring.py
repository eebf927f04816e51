"""What is counted of a classifier in use, of what nothing is told, and what is never counted."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

import monitored
import studies
from app.db import now
from app.models import Case, Checkpoint, Lesion, Prediction, Review
from app.models.monitoring import scope as scopes
from app.models.monitoring.acceptance import Acceptance, pairs
from app.models.monitoring.beside import Verdict
from app.models.monitoring.given import given
from app.models.monitoring.local import Standard, Trained
from app.models.monitoring.monitoring import Monitoring
from app.models.reader_studies.enrolment import Enrolment
from app.models.runs.dataset import DatasetVersion
from app.models.runs.known_lesions import KnownLesions
from ml.images.ct_slice import ImageKind
from ml.lesion import LIVER
from monitored import AT, Site


def scope(session, kind="calibrated", name="phantom-cnn", closed=None):
    rows = scopes.scored(session, closed)
    return scopes.chosen(session, closed, rows, name, ImageKind(kind))


def watched(session, kind="calibrated", standard=Standard.CONFIRMED, **more):
    return Monitoring.of(session, scope(session, kind), standard, at=AT, **more)


def at(session, lesion_id, moment):
    session.execute(
        sa.update(Prediction).where(Prediction.lesion_id == lesion_id).values(created_at=moment)
    )


def another(session, name="hospital-cnn", **more) -> Checkpoint:
    """The same network under another calibration, say."""
    first = Checkpoint.require(session, "phantom-cnn")
    row = Checkpoint(
        name=name,
        kind="classifier",
        training_kind="calibrated",
        dataset_digest=more.get("dataset_digest", "1" * 64),
        meta={**first.meta, "name": name.partition("@")[0], "training_kind": "calibrated"},
        card="",
        onnx_digest=first.onnx_digest,
        weights_digest=first.weights_digest,
    )
    session.add(row)
    session.flush()
    return row


# -- months ----------------------------------------------------------------------------------------


def test_a_month_ends_at_midnight_in_utc(session):
    first, second, third = monitored.fill(session, 3, Site())
    at(session, first, datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC))
    at(session, second, datetime(2026, 9, 1, tzinfo=UTC))
    east = datetime(2026, 11, 1, 1, tzinfo=UTC).astimezone()
    at(session, third, east)
    found = watched(session).months
    assert {one.month: one.lesions for one in found.each} == {
        "2026-08": 1, "2026-09": 1, "2026-10": 0, "2026-11": 1,
    }  # fmt: skip
    assert found.each[2].unlike.value is None
    assert found.each[2].agreed.note == "too few: 0 patients, and 20 are needed"


def test_months_before_the_last_three_years_are_counted_together(session):
    old, new = monitored.fill(session, 2, Site())
    at(session, old, datetime(2020, 3, 1, tzinfo=UTC))
    at(session, new, datetime(2026, 11, 1, tzinfo=UTC))
    found = watched(session).months
    assert (len(found.each), found.each[0].month, found.each[-1].month) == (
        36, "2023-12", "2026-11",
    )  # fmt: skip
    assert (found.earlier, found.whole.lesions) == (1, 2)


def test_what_a_month_tells_is_what_was_said(session):
    ids = monitored.fill(session, 60, Site(unlike=0.3, per_patient=2))
    said = [session.scalars(sa.select(Prediction).where(Prediction.lesion_id == one)).one().said
            for one in ids]  # fmt: skip
    found = watched(session).months.whole
    flags = [one["unlike_training"]["flag"] for one in said]
    sizes = [len(one["prediction_set"]["classes"]) for one in said]
    assert found.unlike.value == pytest.approx(sum(flags) / 60)
    assert found.unlike.n == 60
    assert found.patients == 30
    assert found.set_sizes == {str(size): sizes.count(size) for size in (1, 2, 3)}
    assert (found.probabilities, found.unknown, found.no_set) == (60, 0, 0)


@pytest.mark.parametrize("said", [None, sa.null()])
def test_predictions_of_before_anything_was_said_count_as_not_told(session, said):
    ids = monitored.fill(session, 40, Site())
    session.execute(
        sa.update(Prediction).where(Prediction.lesion_id.in_(ids[:30])).values(said=said)
    )
    found = watched(session)
    whole = found.months.whole
    assert (whole.lesions, whole.unknown, whole.unlike.n) == (40, 30, 10)
    assert (whole.probabilities, whole.no_set, sum(whole.set_sizes.values())) == (10, 30, 10)
    assert found.local.test.n_lesions == 40
    assert found.local.test.believed.n_lesions == 10
    assert found.local.test.coverage[0].overall.note == "too few: 10 patients, and 20 are needed"


def test_withdrawn_lesions_are_counted_and_nothing_more(session):
    ids = monitored.fill(session, 50, Site())
    session.execute(sa.update(Lesion).where(Lesion.id.in_(ids[:10])).values(withdrawn_at=AT))
    found = watched(session)
    whole = found.months.whole
    assert (whole.lesions, whole.withdrawn, whole.patients, whole.unlike.n) == (50, 10, 40, 40)
    assert found.acceptance.blind.given == found.local.test.n_lesions == 40


def test_what_was_said_goes_with_a_deleted_case_and_the_deletion_is_told(session):
    ids = monitored.fill(session, 30, Site())
    before = watched(session).deleted_cases
    case = Case.require(session, session.get_one(Lesion, ids[0]).case_id)
    studies.remove(session, case)
    session.flush()
    found = watched(session)
    assert found.months.whole.lesions == 29
    assert found.deleted_cases == before + 1


def test_two_calibrations_of_a_network_are_two_things(session):
    another(session)
    monitored.fill(session, 30, Site())
    monitored.fill(session, 20, Site(prefix="Q", seed=1), "hospital-cnn")
    counts = {
        row.checkpoint.name: sum(row.lesions.values()) for row in scopes.scored(session, None)
    }
    assert counts == {"phantom-cnn": 30, "hospital-cnn": 20}
    assert watched(session).months.whole.lesions == 30


def test_a_checkpoint_that_gave_its_name_away_is_still_there(session):
    row = another(session, "hospital-cnn@12345678")
    monitored.fill(session, 20, Site(), row.name)
    found = Monitoring.of(session, scope(session, name=row.name), Standard.CONFIRMED, at=AT)
    assert (found.checkpoint.name, found.months.whole.lesions) == (row.name, 20)


def test_the_usual_kind_is_that_of_patients(session):
    monitored.fill(session, 5, Site(phantom=True))
    [row] = scopes.scored(session, None)
    assert row.usual == ImageKind.PHANTOM
    monitored.fill(session, 1, Site(prefix="Q", seed=1))
    [row] = scopes.scored(session, None)
    assert row.usual == ImageKind.CALIBRATED


def test_closed_cases_are_in_no_count(session):
    app_reader = studies.make_user(session, "ada")
    studies.make_study(session, app_reader, per_class=3)
    monitored.fill(session, 30, Site(phantom=True))
    monitored.fill(session, 25, Site(prefix="Q", seed=1))
    closed = Enrolment.closed_to(session, app_reader.id)
    [row] = scopes.scored(session, closed)
    assert row.lesions == {ImageKind.CALIBRATED: 25}
    found = Monitoring.of(
        session, scope(session, "phantom", closed=closed), Standard.CONFIRMED, at=AT
    )
    assert found.closed
    assert found.months.whole.lesions == found.acceptance.blind.given == 0
    assert found.local.test.n_lesions == 0


# -- radiologists ----------------------------------------------------------------------------------


def give(session, lesion_id, lesion_class, visible, *, by=None, basis="pathology"):
    session.expire_all()
    studies.review(
        session,
        session.get_one(Lesion, lesion_id),
        lesion_class,
        score_visible=visible,
        by=by,
        basis=basis,
    )


def accepted(session) -> Acceptance:
    own = scope(session)
    return Acceptance.of(pairs(given(session, own)), own.checkpoint.scheme.keys)


def called(session, lesion_id) -> str:
    return session.scalars(
        sa.select(Prediction.lesion_class).where(Prediction.lesion_id == lesion_id)
    ).one()


def other_than(key: str) -> str:
    return next(one for one in LIVER.keys if one != key)


def test_classes_given_blind_and_with_the_score_in_sight_are_told_apart(session):
    ids = monitored.fill(session, 50, Site(reviewed=0))
    for place, one in enumerate(ids):
        key = called(session, one)
        if place < 25:  # blind, half of them another class
            give(session, one, key if place % 2 else other_than(key), False)
        else:
            give(session, one, key, True)
    found = accepted(session)
    assert (found.blind.given, found.shown.given, found.elsewhere) == (25, 25, 0)
    assert found.blind.agreed.value == pytest.approx(12 / 25)
    assert found.shown.agreed.value == 1
    assert found.shown.kappa.value == pytest.approx(1)


def test_a_class_changed_after_the_score_is_agreement_of_none(session):
    ids = monitored.fill(session, 30, Site(reviewed=0))
    third = {
        key: next(o for o in LIVER.keys if o not in (key, other_than(key))) for key in LIVER.keys
    }
    for place, one in enumerate(ids):
        key = called(session, one)
        give(session, one, other_than(key), False)
        if place < 10:
            give(session, one, key, True)
        elif place < 15:
            give(session, one, third[key], True)
    found = accepted(session)
    assert found.blind.agreed.value == 0
    assert found.shown.given == 0
    assert found.changed.to_network.value == pytest.approx(10 / 30)
    assert found.changed.to_another.value == pytest.approx(5 / 30)


def test_who_cannot_tell_any_more_changed_to_no_class(session):
    ids = monitored.fill(session, 90, Site(reviewed=0))
    for place, one in enumerate(ids):
        key = called(session, one)
        give(session, one, key if place < 45 else other_than(key), False)
        if place % 3 == 0:
            give(session, one, "cannot_tell", True)
    changed = accepted(session).changed
    assert (changed.left_network.value, changed.left_network.n) == (0, 30)
    assert (changed.to_another.value, changed.to_another.n) == (0, 30)


def test_what_pathology_says_later_is_no_change_that_the_score_made(session):
    ids = monitored.fill(session, 80, Site(reviewed=0))
    for place, one in enumerate(ids):
        key = called(session, one)
        own = key if place < 40 else other_than(key)
        give(session, one, own, False, basis="imaging")
        if place % 4 == 0:  # the score changed it, and pathology changed it back
            give(session, one, other_than(own) if place < 40 else key, True, basis="imaging")
        if place % 2 == 0:
            give(session, one, own if place % 4 == 0 else other_than(own), True, basis="pathology")
    changed = accepted(session).changed
    assert (changed.left_network.value, changed.left_network.n) == (pytest.approx(10 / 40), 40)
    assert (changed.to_network.value, changed.to_network.n) == (pytest.approx(10 / 40), 40)
    assert changed.to_another.value == 0


def test_a_score_of_another_network_in_sight_is_neither(session):
    ids = monitored.fill(session, 20, Site(reviewed=0))
    for one in ids:  # the score that was in sight was given before this network's
        give(session, one, called(session, one), True)
        at(session, one, now() + timedelta(days=1))
    found = accepted(session)
    assert (found.blind.given, found.shown.given, found.elsewhere) == (0, 0, 20)


def test_other_never_agrees_and_cannot_tell_is_no_class(session):
    ids = monitored.fill(session, 40, Site(reviewed=0))
    for place, one in enumerate(ids):
        give(session, one, "other" if place < 20 else "cannot_tell", False)
    found = accepted(session).blind
    assert (found.given, found.cannot_tell, found.agreed.value) == (20, 20, 0)


def test_of_few_reviewed_lesions_no_count_tells_the_class_of_one(session):
    monitored.fill(session, 19, Site())
    found = accepted(session)
    notes = {
        one.note
        for one in (
            found.blind.agreed, found.blind.kappa, *found.blind.of_called.values(),
            *found.blind.of_given.values(), found.changed.to_network, found.changed.left_network,
        )
    }  # fmt: skip
    assert notes == {"too few: 19 patients, and 20 are needed"}
    monitored.fill(session, 4, Site(prefix="Q", seed=1, manufacturer="Other"))
    [of_four] = [one for one in watched(session).local.subgroups if one.value == "Other One"]
    assert {(one.note, one.n) for one in of_four.sensitivity.values()} == {
        ("too few: 4 patients, and 20 are needed", 4)
    }


def test_the_local_test_of_one_lesion_does_not_tell_its_class(session):
    """Nor does any figure of it: they are the same whatever the class is."""
    [one] = monitored.fill(session, 1, Site(reviewed=0))
    told = []
    for key in ("cyst", "hemangioma"):
        give(session, one, key, False)
        found = watched(session)
        told.append((found.local.test, found.local.subgroups, found.beside))
    assert told[0][0].n_lesions == 1
    assert told[0] == told[1]


def test_two_persons_of_one_lesion_are_two_classes_of_one_patient(session):
    ids = monitored.fill(session, 20, Site())
    colleague = studies.make_user(session, "colleague")
    for one in ids:
        give(session, one, called(session, one), False, by=colleague)
    found = accepted(session).blind
    assert (found.given, found.patients) == (40, 20)


# -- the local test --------------------------------------------------------------------------------


def test_the_local_test_is_of_the_lesions_that_were_reviewed(session):
    ids = monitored.fill(session, 120, Site(right=0.75, reviewed=0.6))
    reviewed = dict(session.execute(sa.select(Review.lesion_id, Review.lesion_class)).all())
    right = [called(session, one) == reviewed[one] for one in ids if one in reviewed]
    found = watched(session).local
    assert found.test.n_lesions == len(reviewed) == sum(found.basis.values())
    assert found.test.accuracy.value == pytest.approx(sum(right) / len(right))
    assert found.basis == {"pathology": len(reviewed)}


def test_imaging_alone_counts_where_it_is_asked_for_and_was_given_blind(session):
    ids = monitored.fill(session, 60, Site(reviewed=0))
    for place, one in enumerate(ids):
        basis = ("imaging", "imaging", "follow_up")[place % 3]
        give(session, one, "cyst", place % 3 == 1, basis=basis)
    confirmed = watched(session).local
    assert confirmed.basis == {"follow_up": 20}
    assert (confirmed.left_out.imaging, confirmed.left_out.seen) == (20, 20)
    both = watched(session, standard=Standard.ANY).local
    assert both.basis == {"follow_up": 20, "imaging": 20}
    assert (both.left_out.imaging, both.left_out.seen) == (0, 20)


def test_who_changed_to_the_network_after_the_score_is_taken_at_the_word_of_before(session):
    ids = monitored.fill(session, 24, Site(reviewed=0))
    for place, one in enumerate(ids):
        key = called(session, one)
        give(session, one, key if place < 12 else other_than(key), False, basis="imaging")
        give(session, one, key, True, basis="imaging")
    assert watched(session).local.left_out.imaging == 24
    found = watched(session, standard=Standard.ANY).local
    assert found.test.n_lesions == 24
    assert found.test.accuracy.value == pytest.approx(0.5)
    for one in ids:  # then pathology came, and all were as the network said
        give(session, one, called(session, one), True)
    assert watched(session, standard=Standard.ANY).local.test.accuracy.value == 1


def test_pathology_comes_first_and_disagreement_is_told(session):
    ids = monitored.fill(session, 20, Site(reviewed=0))
    colleague = studies.make_user(session, "colleague")
    for one in ids:
        give(session, one, "cyst", False)
        give(session, one, "metastasis", False, by=colleague, basis="follow_up")
    found = watched(session).local
    assert found.disagreed == 20
    assert found.test.lesions_of_class == {"cyst": 20, "metastasis": 0, "hemangioma": 0}


def test_what_pathology_calls_another_lesion_has_no_class_by_a_lesser_review(session):
    ids = monitored.fill(session, 60, Site(reviewed=0))
    colleague = studies.make_user(session, "colleague")
    for place, one in enumerate(ids):
        give(session, one, "cyst", False, by=colleague, basis="follow_up")
        give(session, one, ("other", "cannot_tell")[place % 2], False)
    found = watched(session).local
    assert found.left_out.other == 30
    assert found.test.lesions_of_class["cyst"] == 30  # pathology that cannot tell leaves it
    assert len(KnownLesions.of(session, LIVER).lesions) == 30  # of which data sets are frozen


def test_only_the_class_that_stands_counts(session):
    ids = monitored.fill(session, 20, Site(reviewed=0))
    for key in ("cyst", "hemangioma"):
        for one in ids:
            give(session, one, key, key != "cyst")
    assert watched(session).local.test.lesions_of_class["hemangioma"] == 20
    for one in ids:
        give(session, one, "cannot_tell", True)
    found = watched(session).local
    assert (found.test.n_lesions, found.left_out.other) == (0, 20)


def test_patients_that_the_checkpoint_was_trained_on_are_left_out(session):
    maker = studies.make_user(session, "maker", "researcher")
    studies.make_known_lesions(session, 5, phantom=False)
    archive = DatasetVersion.pack(session, "mine", LIVER, "calibrated")
    version = DatasetVersion.freeze(session, maker, archive)
    row = another(session, dataset_digest=version.digest)
    trained = version.classes(session)
    for lesion in trained:
        session.add(
            Prediction(
                lesion_id=lesion, checkpoint_id=row.id, lesion_class="cyst", warnings=[], said=None,
                probabilities={"cyst": 0.8, "metastasis": 0.1, "hemangioma": 0.1},
            )
        )  # fmt: skip
    # a further lesion of a trained patient, in another case
    [further] = studies.make_lesion(session, 1, phantom=False, study="later")
    studies.review(session, further, "cyst")
    session.add(
        Prediction(
            lesion_id=further.id, checkpoint_id=row.id, lesion_class="cyst", warnings=[], said=None,
            probabilities={"cyst": 0.8, "metastasis": 0.1, "hemangioma": 0.1},
        )
    )  # fmt: skip
    monitored.fill(session, 30, Site(), row.name)
    found = Monitoring.of(session, scope(session, name=row.name), Standard.CONFIRMED, at=AT).local
    assert found.trained is Trained.HERE
    assert found.left_out.trained == 16
    assert found.test.n_lesions == 30
    version.erase(session, version.without(session, {next(iter(trained))}), "an erasure")
    session.flush()
    session.expire_all()
    found = Monitoring.of(session, scope(session, name=row.name), Standard.CONFIRMED, at=AT).local
    assert found.trained is Trained.PARTLY


def test_whether_a_checkpoint_was_trained_here_is_said_where_it_is_not_known(session):
    monitored.fill(session, 1, Site())
    monitored.fill(session, 1, Site(phantom=True, prefix="Q", seed=2))
    assert watched(session).local.trained is Trained.OTHER_KIND
    assert watched(session, "phantom").local.trained is Trained.ELSEWHERE


def test_nothing_is_claimed_where_intervals_overlap(session):
    monitored.fill(session, 150, Site(right=0.78))
    rows = {(row.measure, row.of): row for row in watched(session).beside}
    assert rows["balanced accuracy", ""].verdict is Verdict.OVERLAP
    assert rows["AUC", "cyst"].card is not None
    session.execute(sa.delete(Prediction))
    monitored.fill(session, 150, Site(right=0.1, prefix="Q", seed=1))
    rows = {(row.measure, row.of): row for row in watched(session).beside}
    assert rows["balanced accuracy", ""].verdict is Verdict.LOWER
    assert rows["balanced accuracy", ""].source.startswith("cross-validation, networks of the same")


def test_phases_and_scanners_are_told_where_there_are_enough(session):
    monitored.fill(session, 60, Site())
    monitored.fill(session, 12, Site(prefix="Q", seed=1, manufacturer="Other"))
    found = {one.value: one for one in watched(session).local.subgroups}
    assert set(found) == {"portal", "Acme One", "Other One"}
    assert found["portal"].n_lesions == 72
    assert found["Acme One"].right.value is not None
    assert found["Other One"].right.note == "too few: 12 patients, and 20 are needed"


# -- drift -----------------------------------------------------------------------------------------


def test_a_site_that_stays_as_it_was_is_not_called_changed(session):
    monitored.fill(session, 400, Site())
    found = watched(session, measure=True).inputs
    assert (found.before.first, found.before.last) == ("2025-10", "2026-03")
    assert (found.now.first, found.now.last, found.number) == ("2026-07", "2026-09", 2)
    assert [one.name for one in found.told] == [
        "novelty", "diameter_mm", "spacing_mm", "thickness_mm", "manufacturer", "kernel", "phase",
    ]  # fmt: skip
    assert not any(one.changed for one in (*found.told, *found.measured))
    mean = next(one for one in found.measured if one.name == "lesion_mean")
    assert mean.before.quartiles == pytest.approx((60, 60, 60), abs=1)
    assert mean.words == "mean in the lesion, within −150 to 250 HU"  # clipped as networks see it
    assert found.unmeasured == 0


def test_measurements_stand_beside_the_range_of_the_training_rois_of_the_same_kind(session):
    monitored.fill(session, 400, Site(phantom=True))
    found = {one.name: one for one in watched(session, "phantom", measure=True).inputs.measured}
    assert found["surround_sd"].beyond.value == 1  # the pictures of these tests are flat
    assert found["surround_sd"].beyond.n == found["surround_sd"].now.n == 104
    monitored.fill(session, 400, Site(prefix="Q", seed=1))
    of_patients = watched(session, measure=True).inputs.measured
    assert {one.beyond for one in of_patients} == {None}


def test_another_scanner_and_farther_lesions_are_called_changed(session):
    monitored.fill(session, 250, Site(end=datetime(2026, 5, 30, tzinfo=UTC)))
    monitored.fill(
        session, 150,
        Site(begin=datetime(2026, 6, 2, tzinfo=UTC), prefix="Q", seed=1, manufacturer="Newer",
             unlike=0.6),
    )  # fmt: skip
    found = {one.name: one for one in watched(session).inputs.told}
    assert found["manufacturer"].changed
    assert found["manufacturer"].distance == 1
    assert found["manufacturer"].now.shares == {"Newer": 1.0}
    assert found["novelty"].changed
    assert not found["phase"].changed


def test_the_window_is_the_last_whole_one_so_that_looking_again_tests_nothing_anew(session):
    monitored.fill(session, 400, Site())
    own = scope(session)
    first = Monitoring.of(
        session, own, Standard.CONFIRMED, at=datetime(2026, 10, 1, tzinfo=UTC)
    ).inputs
    later = Monitoring.of(
        session, own, Standard.CONFIRMED, at=datetime(2026, 12, 31, tzinfo=UTC)
    ).inputs
    assert first == later
    assert (first.now.first, first.now.last) == ("2026-07", "2026-09")


def test_windows_stay_where_the_earliest_lesion_is_withdrawn(session):
    [earliest] = monitored.fill(
        session, 1, Site(begin=datetime(2025, 11, 3, tzinfo=UTC), prefix="Q", seed=1)
    )
    monitored.fill(session, 400, Site())
    before = watched(session).inputs
    session.get_one(Lesion, earliest).withdrawn_at = monitored.AT
    session.flush()
    after = watched(session).inputs
    assert after.before == replace(before.before, patients=before.before.patients - 1)
    assert (after.now, after.number) == (before.now, before.number)
    assert (after.now.first, after.now.last) == ("2026-07", "2026-09")


@pytest.mark.parametrize(
    ("count", "begin", "why"),
    [
        (
            100,
            datetime(2026, 11, 3, tzinfo=UTC),
            "the quarter in which scoring began, 2026-10 to 2026-12, is not over",
        ),
        (100, datetime(2026, 7, 3, tzinfo=UTC), "no 3 months after the reference are over"),
        (49, datetime(2026, 1, 3, tzinfo=UTC), "too few: 41 patients until the last whole window"),
        (130, datetime(2025, 12, 3, tzinfo=UTC), ""),
    ],
)
def test_why_nothing_is_compared_is_said(session, count, begin, why):
    monitored.fill(session, count, Site(begin=begin))
    found = watched(session).inputs
    assert found.why.startswith(why)
    assert bool(found.told) == (not why)


def test_the_last_window_needs_patients_who_are_not_in_the_reference(session):
    monitored.fill(session, 200, Site(end=datetime(2026, 2, 20, tzinfo=UTC)))
    later = Site(
        begin=datetime(2026, 7, 2, tzinfo=UTC), end=datetime(2026, 9, 20, tzinfo=UTC), seed=1
    )
    monitored.fill(session, 29, replace(later, prefix="Q"))
    monitored.fill(session, 60, replace(later, seed=2))  # of patients who are in the reference
    found = watched(session).inputs
    assert found.now.patients == 29
    assert found.why == "too few: 29 patients in the last whole window, and 30 are needed"


def test_an_input_that_is_not_known_is_not_compared(session):
    monitored.fill(session, 400, Site())
    session.execute(sa.update(Prediction).values(said=None))
    found = {one.name: one for one in watched(session).inputs.told}
    assert found["novelty"].p is None
    assert found["novelty"].why.startswith("too few: 0 patients with it in the reference")
    assert found["diameter_mm"].p is not None


def test_ids_are_those_of_the_lesions(session):
    ids = monitored.fill(session, 3, Site())
    row = given(session, scope(session))[0]
    assert uuid.UUID(str(row.lesion)) in ids
