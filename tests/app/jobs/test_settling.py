"""Series that have become quiet: classified once for each state, where that is switched on."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

import marks
from app.db import Database, now
from app.inference import Inference
from app.jobs import settling
from app.jobs.settling import Settling
from app.models import Case, Checkpoint, Image, Lesion, Prediction, Series, Settlement, User
from app.settings import Settings
from app.uploads import opening
from app.uploads.parcel import Limits
from app.watch import Watch
from factories import make_dicom
from ml.images.roi import Box

KEY = b"a key for tests, thirty-two characters or more"
SLICES = [make_dicom(number=n, z=5.0 * n) for n in (1, 2, 3)]
INSIDE = np.zeros((1, 128, 128), bool)
INSIDE[0, 49:79, 50:78] = True
SEG = marks.segmentation(SLICES[:1], INSIDE)


def send(database, *files: bytes) -> None:
    parcel = opening.opened(
        [(f"file {n}", one) for n, one in enumerate(files)], Limits(9, 1e9, 1e9)
    )
    with database.transaction() as session:
        Case.receive(
            session, parcel, None, contrast_phase="portal", pseudonym="", key=KEY, actor="my-pacs"
        )


def calm(database) -> None:
    """As if a minute had passed."""
    with database.transaction() as session:
        earlier = now() - timedelta(seconds=61)
        session.execute(
            sa.update(Series).where(Series.stirred_at.is_not(None)).values(stirred_at=earlier)
        )


@pytest.fixture
def clerk(database):
    chosen = Settings(installation_key="k" * 32, classify_quiet_series=True)
    one = Settling(database, Inference(1), Watch(database), chosen)
    return lambda: one.act("clerk")


def settled(session) -> list[tuple[int, int, int]]:
    session.expire_all()
    rows = session.scalars(sa.select(Settlement).order_by(Settlement.at))
    return [(one.images, one.lesions, one.scored) for one in rows]


def scores(session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(Prediction)) or 0


def test_nothing_is_classified_before_the_series_is_quiet_and_then_once(
    database, session, clerk, signed_in_as
):
    send(database, *SLICES[:2], SEG)
    assert not clerk() and scores(session) == 0
    calm(database)
    assert clerk()
    assert not clerk()
    assert settled(session) == [(2, 1, 1)] and scores(session) == 1
    send(database, *SLICES[:2], SEG)  # the same once more is no news
    assert not clerk()
    case = session.scalars(sa.select(Case)).one()
    page = signed_in_as("reader").get(f"/cases/{case.id}").text
    assert "2 images, 1 of 1 marked lesion scored by phantom-cnn" in page


def test_later_images_and_later_marks_are_further_states_with_results_of_their_own(
    database, session, clerk
):
    send(database, *SLICES[:2], SEG)
    calm(database)
    clerk()
    send(database, SLICES[2])
    assert not clerk()
    calm(database)
    clerk()
    send(database, marks.report(SLICES[2], "CIRCLE", [(64, 64), (79, 64)]))
    calm(database)
    clerk()
    assert settled(session) == [(2, 1, 1), (3, 1, 1), (3, 2, 2)]
    assert scores(session) == 2  # of each mark once


def test_without_a_mark_nothing_is_classified_and_a_mark_that_comes_later_is(
    database, session, clerk
):
    send(database, *SLICES)
    calm(database)
    clerk()
    assert settled(session) == [] and scores(session) == 0
    send(database, SEG)
    calm(database)
    clerk()
    assert settled(session) == [(3, 1, 1)]


def test_nothing_is_classified_where_nobody_switched_it_on(database, session):
    one = Settling(database, Inference(1), Watch(database), Settings(installation_key="k" * 32))
    send(database, *SLICES, SEG)
    calm(database)
    while one.act("clerk"):
        pass
    assert settled(session) == [] and scores(session) == 0
    assert session.scalars(sa.select(Series.stirred_at)).all() == [None]


def test_what_a_person_marked_is_left_to_the_rules_of_persons(database, session, clerk):
    send(database, *SLICES)
    with database.transaction() as opened:
        ada = User.add(opened, "ada", "reader", "correct horse")
        image = opened.scalars(sa.select(Image)).first()
        Lesion.mark(opened, image, Box(50, 49, 28, 30), ada)
    calm(database)
    clerk()
    assert scores(session) == 0


def test_a_lesion_that_must_not_or_cannot_be_scored_says_why(
    database, session, clerk, monkeypatch, signed_in_as
):
    send(database, *SLICES, SEG)
    calm(database)
    monkeypatch.setattr(Checkpoint, "served", staticmethod(lambda *_: []))
    clerk()
    assert settled(session) == [(3, 1, 0)]
    case = session.scalars(sa.select(Case)).one()
    assert settling.NO_NETWORK in signed_in_as("reader").get(f"/cases/{case.id}").text


def test_a_clerk_that_fails_half_way_has_done_nothing_and_goes_on(
    database, session, clerk, monkeypatch
):
    send(database, *SLICES, SEG)
    calm(database)

    def broken(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Settlement, "record", staticmethod(broken))
        assert clerk()
    assert scores(session) == 0 and not clerk()


def test_of_two_clerks_one_settles_a_series_on_postgresql(postgres, checkpoints):
    database = Database(postgres)
    database.migrate()
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
    send(database, *SLICES, SEG)
    calm(database)
    with database.transaction() as one:
        series_id = Settlement.quiet(one, 60)
        assert series_id and Settlement.claim(one, series_id, 60) is not None
    with database.transaction() as other:
        assert Settlement.claim(other, series_id, 60) is None
    calm(database)
    send(database, marks.report(SLICES[2], "CIRCLE", [(64, 64), (79, 64)]))
    chosen = Settings(installation_key="k" * 32, classify_quiet_series=True)
    calm(database)
    assert Settling(database, Inference(1), Watch(database), chosen).act("clerk")
    with database.reading() as look:
        assert settled(look) == [(3, 2, 2)]
    database.engine.dispose()
