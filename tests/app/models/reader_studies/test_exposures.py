"""What a reader knows already is not shown to them again."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

import answered
import studies
from app.errors import Conflict, Forbidden, Unavailable, Unreadable
from app.models import ApiToken, DatasetVersion, Event, Lesion, Look, ReaderStudy, Stimulus
from app.models.reader_studies.content import ProtocolContent
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.exposure import Exposure
from app.models.reader_studies.look import Seen, Shown
from app.models.reader_studies.wish import Wish
from ml.images.roi import Box
from ml.lesion import LIVER


@pytest.fixture
def researcher(session):
    return studies.make_user(session, "maker", "researcher")


@pytest.fixture
def ada(session):
    return studies.make_user(session, "ada")


def again(session, researcher, real=6, seed=8, **more) -> ReaderStudy:
    """Another study of what there is; its synthetic images are others."""
    asked = {"title": "Again", "scheme": LIVER, "real": real, "synthetic": 6, "seed": seed}
    return studies.compose(session, researcher, draw=studies.draw, **{**asked, **more})


def read(session, study, images) -> None:
    """The study's first reader answers the first ``images`` trials."""
    answered.answer(
        session, study, 1, lambda _stimulus, position: {"rating": 2} if position <= images else None
    )


def stop(session, study, researcher) -> None:
    """The first reader leaves: what they were to read they will not read."""
    Enrolment.of_study(session, study.id)[0].withdraw(session, researcher, "no reason given")


def test_nobody_is_enrolled_in_images_that_they_read_before(session, researcher, ada):
    study = studies.make_study(session, ada)
    read(session, study, 12)
    answered.unblind(session, study, researcher)
    with pytest.raises(Conflict, match="ada has read, or is to read, 6 of the 6 real lesions"):
        again(session, researcher).enrol(session, ada, researcher)


def test_a_reading_that_is_still_to_come_counts(session, researcher, ada):
    studies.make_study(session, ada)
    with pytest.raises(Conflict, match="6 of the 6"):
        again(session, researcher).enrol(session, ada, researcher)


def test_an_enrolment_in_two_drafts_stops_the_second_opening(session, researcher, ada):
    first = studies.make_study(session, ada, opened=False)
    second = again(session, researcher)
    second.enrol(session, ada, researcher)
    first.open(session, researcher, first.pictures(session, studies.draw))
    with pytest.raises(Conflict, match="6 of the 6"):
        second.open(session, researcher, second.pictures(session, studies.draw))


def test_practice_counts_and_what_was_never_shown_does_not(session, researcher, ada):
    study = studies.make_study(session, ada, real=3, synthetic=3, design=Design(practice=4))
    read(session, study, 4)  # the practice; the first image stands on the desk
    stop(session, study, researcher)
    trials = answered.trials_of(session, answered.enrolment_of(session, study, 1))
    seen = [trial.stimulus for trial in trials[:5]]
    assert sum(stimulus.practice for stimulus in seen) == 4
    known = Exposure.of(session, ada.id)
    assert known.read == {one.lesion_id for one in seen if one.lesion_id}
    assert known.synthetics == {(one.checkpoint_id, one.seed) for one in seen if one.checkpoint_id}


def test_a_reader_who_never_checked_in_has_seen_nothing(session, researcher, ada):
    study = studies.make_study(session, ada, checked_in=False)
    stop(session, study, researcher)
    assert Exposure.of(session, ada.id).read == frozenset()
    again(session, researcher).enrol(session, ada, researcher)


def test_the_same_seed_does_not_show_the_same_synthetic_images_again(session, researcher, ada):
    study = studies.make_study(session, ada, seed=7)
    read(session, study, 12)
    same = again(session, researcher, seed=7, design=Design(exclude_own=False))
    with pytest.raises(Conflict, match="6 of its 6 synthetic images in another"):
        same.enrol(session, ada, researcher)


def test_a_lesion_whose_box_was_drawn_anew_is_known_all_the_same(session, researcher, ada):
    study = studies.make_study(session, ada)
    read(session, study, 12)
    old = next(one.lesion for one in Stimulus.of_study(session, study.id) if one.lesion)
    new = Lesion.mark(session, old.image, Box(old.x + 2, old.y + 1, 20, 20), researcher)
    assert new.id in Exposure.of(session, ada.id).read


def test_composing_for_named_readers_leaves_out_what_they_read(session, researcher, ada):
    study = studies.make_study(session, ada, per_class=3, real=3, synthetic=3)
    read(session, study, 6)
    shown = {one.lesion_id for one in Stimulus.of_study(session, study.id) if one.lesion_id}
    with pytest.raises(Unreadable, match="There are 2 cyst"):
        again(session, researcher, real=9, without_lesions_of=[ada])
    free = again(session, researcher, real=6, without_lesions_of=[ada])
    assert not {item.lesion for item in free.plan.images.real} & set(shown)
    free.enrol(session, ada, researcher)


def test_the_protocol_says_whether_it_was_excluded(app, session, researcher, ada, signed_in_as):
    study = studies.make_study(session, ada)
    session.commit()
    page = signed_in_as("researcher", name="maker").get(f"/reader-studies/{study.id}").text
    assert "nobody reads an image that they read in another study" in page
    assert study.protocol.content_json["design"]["exclude_read"] is True
    earlier = {**study.protocol.content_json, "design": {"exclude_own": True}}  # frozen before
    assert ProtocolContent.from_json(earlier).design.exclude_read is False


def test_a_study_of_memory_may_show_them_again(session, researcher, ada):
    study = studies.make_study(session, ada)
    read(session, study, 12)
    answered.unblind(session, study, researcher)
    design = Design(exclude_read=False)
    assert again(session, researcher, design=design).enrol(session, ada, researcher)


def test_a_refused_enrolment_stays_on_the_page_and_enrols_nobody(
    app, session, researcher, ada, signed_in_as
):
    study = studies.make_study(session, ada)
    new = again(session, researcher)
    studies.make_user(session, "bob")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    address = f"/reader-studies/{new.id}/enrolments"
    refused = browser.post(address, data={"reader": ["bob", "ada"]})
    assert refused.status_code == 409
    assert "ada has read, or is to read, 6 of the 6" in refused.text
    assert '<h2 id="protocol">' in refused.text
    assert Enrolment.of_study(session, new.id) == []
    assert browser.post(address, data={"reader": "bob"}).status_code == 303
    assert len(Enrolment.of_study(session, study.id)) == 1


def test_a_researcher_who_reads_the_study_learns_no_number_from_a_refusal(session, researcher, ada):
    studies.make_study(session, ada)
    new = again(session, researcher, design=Design(exclude_own=False))
    new.enrol(session, researcher, researcher)
    with pytest.raises(Conflict, match="ada knows images of this study already") as refusal:
        new.enrol(session, ada, researcher)
    assert not any(letter.isdigit() for letter in refusal.value.detail)


# -- what an account was shown, wherever it was ---------------------------------------------------


def test_what_was_shown_in_the_viewer_is_known_and_refuses_the_enrolment(
    app, session, researcher, ada, signed_in_as
):
    study = studies.make_study(session)
    real = [one.lesion for one in Stimulus.of_study(session, study.id) if one.lesion]
    session.commit()
    browser = signed_in_as("reader", name="ada")
    for address in (
        f"/images/{real[0].image_id}/pixels",
        f"/images/{real[1].image_id}/preview.png",
        f"/lesions/{real[2].id}/roi.png",
    ):
        for _ in range(2):
            assert browser.get(address).status_code == 200
    assert session.scalar(sa.select(sa.func.count()).select_from(Look)) == 3
    assert Exposure.of(session, ada.id).seen == {one.id for one in real[:3]}
    with pytest.raises(Conflict, match="ada has seen 3 of the 6 real lesions") as refusal:
        study.enrol(session, ada, researcher)
    assert "synthetic" not in refusal.value.detail
    bob = studies.make_user(session, "bob")
    assert study.enrol(session, bob, researcher)


def test_bytes_that_a_browser_has_already_are_a_look_as_well(app, session, ada, signed_in_as):
    [lesion] = studies.make_lesion(session, 800)
    session.commit()
    address = f"/lesions/{lesion.id}/roi.png"
    tag = signed_in_as("reader", name="bob").get(address).headers["etag"]
    reply = signed_in_as("reader", name="ada").get(address, headers={"if-none-match": tag})
    assert reply.status_code == 304
    assert Exposure.of(session, ada.id).seen == {lesion.id}


def test_synthetic_images_are_known_from_every_place_that_shows_them(
    app, client, session, ada, signed_in_as
):
    app.state.inference = studies.NoNetworks()
    row = studies.make_generators(session)[0]
    secret = ApiToken.add(session, "laptop", "reader", owner=ada)
    session.commit()
    browser = signed_in_as("reader", name="ada")
    for address in ("5.png", "sheet?seed=10&count=3", "download?seed=20&count=2"):
        assert browser.get(f"/synthetics/{row.name}/{address}").status_code == 200
    order = {"checkpoint": row.name, "count": 2, "seed": 30}
    bearer = {"authorization": f"Bearer {secret}"}
    assert client.post("/api/v1/synthetics", json=order, headers=bearer).status_code == 200
    known = Exposure.of(session, ada.id)
    seen = [seed for seed in range(40) if known.has_seen(row.id, seed)]
    assert seen == [5, 10, 11, 12, 20, 21, 30, 31]
    assert not known.has_seen(studies.make_user(session, "bob").id, 5)


def test_a_data_set_that_was_taken_and_results_that_were_looked_at_are_known(
    app, session, researcher, signed_in_as
):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    archive = DatasetVersion.pack(session, "frozen", LIVER, "phantom")
    version = DatasetVersion.freeze(session, researcher, archive)
    read(session, study, 12)
    answered.unblind(session, study, researcher)
    session.commit()
    taker, looker = (signed_in_as("researcher", name=name) for name in ("taker", "looker"))
    assert taker.get(f"/datasets/{version.id}/download").status_code == 200
    stimulus = Stimulus.of_study(session, study.id)[0]
    picture = f"/reader-studies/{study.id}/stimuli/{stimulus.id}.png"
    assert looker.get(picture).status_code == 200
    exporter = signed_in_as("researcher", name="exporter")
    assert exporter.get(f"/reader-studies/{study.id}/exports/images.zip").status_code == 200
    real = {one.lesion_id for one in Stimulus.of_study(session, study.id) if one.lesion_id}
    for name in ("taker", "looker", "exporter"):
        known = Exposure.of(session, studies.make_user(session, name).id)
        assert known.seen == real
        assert len(known.drawn) == (0 if name == "taker" else 6)


def test_composing_for_named_readers_says_what_they_have_seen(
    app, session, researcher, ada, signed_in_as
):
    studies.make_generators(session)
    lesions = studies.make_known_lesions(session, 3)
    Look.keep(session, [Seen(ada.id, Shown.LESION, one.id) for one in lesions[::3]])
    free = again(session, researcher, real=6, without_lesions_of=[ada])
    said = "Seen by ada in the viewer, a data set or results: 3 of 9 lesions, "
    assert free.notes[0] == f"{said}left out."
    assert not {item.lesion for item in free.plan.images.real} & {one.id for one in lesions[::3]}
    with pytest.raises(Unreadable, match="Seen by ada in the viewer, a data set or results: 3 of"):
        again(session, researcher, real=9, without_lesions_of=[ada])
    free.enrol(session, ada, researcher)
    allowed = Design(exclude_seen=False)
    session.commit()
    open_to = again(session, researcher, real=9, without_lesions_of=[ada], design=allowed)
    assert open_to.notes[0] == f"{said}which may be shown, as chosen."
    assert open_to.enrol(session, ada, researcher)
    session.commit()
    page = signed_in_as("researcher", name="maker").get(f"/reader-studies/{open_to.id}").text
    assert "was shown 3 of 9 real lesions and 0 of 6 synthetic images elsewhere" in page
    [*_, told] = session.scalars(sa.select(Event).where(Event.kind == "reader enrolled"))
    assert told.detail == {"reader": "ada", "seen": [3, 0]}


def test_a_look_that_cannot_be_written_is_shown_and_kept_for_later(
    app, database, session, ada, monkeypatch
):
    from app import witness

    monkeypatch.setattr(witness, "PATIENCE_S", 0.05)
    book = witness.Witness(database)
    [lesion] = studies.make_lesion(session, 801)
    session.commit()
    seen = Seen(ada.id, Shown.LESION, lesion.id)

    def full(*_arguments):
        raise Unavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Look, "keep", full)
        book.saw(seen)
        book._thread.submit(lambda: None).result()
    assert session.scalars(sa.select(Look)).all() == []
    book.close()
    assert [one.subject_id for one in session.scalars(sa.select(Look))] == [lesion.id]


def test_redrawn_pictures_equal_no_stored_copy_whichever_their_source(session, researcher):
    study = studies.make_study(session, opened=False, design=Design(redrawn=True))
    plain = again(session, researcher, seed=7)  # the same lesions and seeds, as they are stored
    shown = {one.png for one in study.pictures(session, studies.draw)}
    stored = {one.png for one in plain.pictures(session, studies.draw)}
    assert study.plan.images == plain.plan.images
    assert len(shown) == len(stored) == 12
    assert not shown & stored
    assert shown == {one.png for one in study.pictures(session, studies.draw)}


def test_the_same_typed_seed_chooses_and_orders_others_in_another_study(session, researcher):
    studies.make_generators(session)
    studies.make_known_lesions(session, 4)
    asked = {"title": "Twin", "scheme": LIVER, "real": 6, "synthetic": 6, "seed": 991}
    first, second = uuid.uuid4(), uuid.uuid4()
    wishes = [
        Wish(**asked).sealed(key, study)
        for key, study in ((b"k" * 32, first), (b"k" * 32, second), (b"K" * 32, first))
    ]
    assert len({one.seed for one in wishes}) == 3
    assert all(0 <= one.seed < 2**53 and one.typed_seed == 991 for one in wishes)
    made = [ReaderStudy.compose(session, researcher, one) for one in wishes[:2]]
    assert [one.id for one in made] == [first, second]
    assert made[0].plan.images != made[1].plan.images
    assert wishes[0] == Wish(**asked).sealed(b"k" * 32, first)
    rule = made[0].open(session, researcher, made[0].pictures(session, studies.draw)).content.order
    assert rule.seed == wishes[0].seed
    assert f"'seed of the reader study {first}: 991'" in rule.rule
    with pytest.raises(Unreadable, match="seed from 0"):
        Wish(**{**asked, "seed": -1}).sealed(b"k" * 32, first)


def test_the_wizard_seals_the_seed_that_was_typed(app, session, signed_in_as):
    app.state.inference = studies.NoNetworks()
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    begun = browser.post("/reader-studies/sketches", data={"title": "Sealed", "preset": "own"})
    sketch = begun.headers["location"].rpartition("/")[0]
    typed = {"real": "3", "synthetic": "3", "kind": "phantom", "seed": "991", "go": "next"}
    assert browser.post(f"{sketch}/images", data=typed).status_code == 303
    assert browser.post(f"{sketch}/composition").headers["location"].startswith("/reader-studies/")
    study = session.scalars(sa.select(ReaderStudy)).one()
    assert study.typed_seed == 991
    assert study.seed != 991


def test_unblinding_asks_again_where_open_studies_show_the_same_images(
    app, session, researcher, ada, signed_in_as
):
    read_on = studies.make_study(session, ada)
    twin = again(session, researcher, real=4, design=Design(exclude_own=False))
    twin.open(session, researcher, twin.pictures(session, studies.draw))
    session.commit()
    assert [(one.id, one.images) for one in twin.sharing(session)] == [(read_on.id, 4)]
    browser = signed_in_as("researcher", name="maker")
    page = browser.get(f"/reader-studies/{twin.id}").text
    assert "“Blinded reading”, 4 images" in page
    form = {"reason": "it was a trial run", "typed": "UNBLIND"}
    refused = browser.post(f"/reader-studies/{twin.id}/unblinding", data=form)
    assert refused.status_code == 422
    assert "shown in 1 that is still being read" in refused.text
    session.expire_all()
    assert twin.unblinding is None
    form["shared"] = "SHOW SHARED IMAGES"
    assert browser.post(f"/reader-studies/{twin.id}/unblinding", data=form).status_code == 303
    told = session.scalars(sa.select(Event).where(Event.kind == "reader study unblinded")).one()
    assert told.detail == {"shared with": [str(read_on.id)]}
    assert read_on.sharing(session) == []  # what is unblinded has no secret to lose


def test_a_blinded_researcher_is_not_told_how_many_images_are_shared(
    app, session, researcher, rhea, signed_in_as
):
    studies.make_study(session, rhea)
    twin = again(session, researcher, real=4)
    twin.open(session, researcher, twin.pictures(session, studies.draw))
    session.commit()
    page = signed_in_as("researcher", name="rhea").get(f"/reader-studies/{twin.id}").text
    assert "4 images" not in page.partition('id="unblinding"')[2]


def test_a_study_is_told_that_a_lesion_of_its_images_was_withdrawn(
    app, session, researcher, ada, signed_in_as
):
    study = studies.make_study(session, ada)
    lesion = next(one.lesion for one in Stimulus.of_study(session, study.id) if one.lesion)
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    slip = {"lesion": str(lesion.id), "number": str(lesion.number), "person": str(researcher.id)}
    assert browser.post(f"/lesions/{lesion.id}/withdrawal", data=slip).status_code == 303
    said = "1 lesion of which this study shows the image was withdrawn since it was opened"
    assert said in browser.get(f"/reader-studies/{study.id}").text
    kinds = sa.select(Event.subject).where(Event.kind == "source lesion withdrawn")
    assert session.scalars(kinds).all() == [str(study.id)]


# -- a researcher who reads blind learns nothing from what is left out or refused ------------------


@pytest.fixture
def rhea(session):
    """A researcher who reads a study of somebody else, and has not finished."""
    return studies.make_user(session, "rhea", "researcher")


@pytest.mark.parametrize("enrolled", ["rhea", "ada"])
def test_a_blinded_researcher_cannot_probe_which_lesions_they_read(
    session, researcher, rhea, ada, enrolled
):
    """A study of one lesion would be refused exactly when that lesion is in their reading."""
    studies.make_study(session, rhea)
    probe = again(session, rhea, real=1)
    person = {"rhea": rhea, "ada": ada}[enrolled]
    with pytest.raises(Forbidden, match="blinded reading to finish") as refusal:
        probe.enrol(session, person, rhea)
    assert "of the 1 real" not in refusal.value.detail
    chief = studies.make_user(session, "chief", "admin")  # who reads nothing
    probe.enrol(session, ada, chief)


def test_nor_by_opening_a_draft_with_readers_in_it(session, researcher, rhea, ada):
    first = studies.make_study(session, rhea, opened=False)
    probe = again(session, rhea, real=1)
    probe.enrol(session, ada, rhea)
    first.open(session, researcher, first.pictures(session, studies.draw))
    with pytest.raises(Forbidden, match="blinded reading to finish"):
        probe.open(session, rhea, probe.pictures(session, studies.draw))


def test_who_reads_their_own_study_alone_still_enrols_others_in_it(session, researcher, ada):
    study = studies.make_study(session, researcher, design=Design(exclude_own=False))
    study.enrol(session, ada, researcher)


def test_the_wizard_counts_nothing_without_named_readers_for_a_blinded_researcher(
    app, session, rhea, signed_in_as
):
    app.state.inference = studies.NoNetworks()
    studies.make_study(session, rhea)
    session.commit()
    browser = signed_in_as("researcher", name="rhea")
    begun = browser.post("/reader-studies/sketches", data={"title": "Probe", "preset": "own"})
    sketch = begun.headers["location"].rpartition("/")[0]
    typed = {"real": "400", "synthetic": "1", "kind": "phantom", "go": "next"}
    reply = browser.post(f"{sketch}/images", data={**typed, "without": "rhea"})
    page = browser.get(reply.headers["location"]).text
    assert "There are" not in page
    assert "blinded reading to finish" in page
    assert 'value="400"' in page  # what was typed is still there
    browser.post(f"{sketch}/images", data=typed)
    assert "There are" in browser.get(f"{sketch}/images").text  # the counts of everybody are told
