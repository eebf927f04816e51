"""Studies and runs belong to somebody: others look, and change nothing."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import studies
from app.errors import Conflict, Forbidden
from app.models import (
    Blob,
    Checkpoint,
    DatasetVersion,
    Event,
    LeakAudit,
    Protocol,
    ReaderStudy,
    Run,
    User,
)
from app.models.reader_studies.enrolment import Enrolment
from ml.lesion import LIVER


@pytest.fixture
def draft(app, session):
    app.state.inference = studies.NoNetworks()
    made = studies.make_study(session, studies.make_user(session, "ada"), opened=False)
    session.commit()
    return made


@pytest.fixture
def opened(app, session):
    app.state.inference = studies.NoNetworks()
    made = studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    return made


@pytest.fixture
def run(session):
    maker = studies.make_user(session, "maker", "researcher")
    version = DatasetVersion(
        name="one",
        kind="phantom",
        scheme_json=LIVER.to_dict(),
        digest="0" * 64,
        counts={},
        rois=1,
        patients=1,
        archive_digest=Blob.store(session, b"zip", "application/zip"),
        made_by_id=maker.id,
    )
    session.add(version)
    session.flush()
    made = Run.queue(session, maker, version, "quick", 1)
    session.commit()
    return made


def make_checkpoint(session, run: Run | None, *, served: bool) -> Checkpoint:
    first = Checkpoint.classifier(session)
    row = Checkpoint(
        name=f"{run.short_name}-classic" if run else "from-outside",
        kind=first.kind,
        training_kind=first.training_kind,
        dataset_digest=first.dataset_digest,
        meta=first.meta,
        card=first.card,
        onnx_digest=first.onnx_digest,
        weights_digest=first.weights_digest,
        trust_digest=first.trust_digest,
        run_id=run.id if run else None,
    )
    session.add(row)
    session.flush()
    if served:
        row.promote(session, "tests")
    session.commit()
    return row


def study_acts(study: ReaderStudy, enrolment: Enrolment) -> dict[str, dict[str, str]]:
    """Every act that changes or ends a study: address → form."""
    url = f"/reader-studies/{study.id}"
    return {
        f"{url}/audit": {},
        f"{url}/opening": {},
        f"{url}/enrolments": {"reader": "bea"},
        f"{url}/enrolments/{enrolment.id}/withdrawal": {"reason": "because I say so"},
        f"{url}/amendments": {"what": "notes", "text": "other", "reason": "because I say so"},
        f"{url}/deletion": {"typed": "DELETE"},
        f"{url}/unblinding": {"reason": "because I say so", "typed": "UNBLIND"},
        f"{url}/ownership": {"name": "eve"},
    }


def trace(session, study_id) -> tuple[object, ...]:
    """What would show that something was done to a study."""
    session.expire_all()
    study = session.get(ReaderStudy, study_id)
    enrolments = Enrolment.of_study(session, study_id)
    return (
        study.state,
        study.owner_id,
        [one.reader_id for one in enrolments],
        [one.withdrawal for one in enrolments],
        session.scalar(sa.select(sa.func.count()).select_from(Protocol)),
        session.scalar(sa.select(sa.func.count()).select_from(LeakAudit)),
    )


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["draft", "opened"])
def test_another_researcher_changes_nothing_of_a_study(request, session, signed_in_as, state):
    study = request.getfixturevalue(state)
    studies.make_user(session, "bea")
    session.commit()
    eve = signed_in_as("researcher", name="eve")
    [enrolment] = Enrolment.of_study(session, study.id)
    before = trace(session, study.id)
    for address, form in study_acts(study, enrolment).items():
        reply = eve.post(address, data=form)
        assert reply.status_code == 403, (address, reply.text)
        assert "maker" in reply.text or "role admin" in reply.text, address
        assert trace(session, study.id) == before, address
    refused = session.scalars(
        sa.select(Event.subject).where(Event.actor == "eve", Event.kind == "refused")
    ).all()
    assert sorted(refused) == sorted(study_acts(study, enrolment))


def test_another_researcher_stops_no_run(session, signed_in_as, run):
    eve = signed_in_as("researcher", name="eve")
    reply = eve.post(f"/runs/{run.id}/cancellation")
    assert reply.status_code == 403
    assert "belongs to maker" in reply.text
    assert eve.post(f"/runs/{run.id}/ownership", data={"name": "eve"}).status_code == 403
    session.expire_all()
    assert (run.state, run.cancel_at) == ("queued", None)


def test_another_researcher_promotes_and_retires_no_checkpoint_of_a_run(session, signed_in_as, run):
    eve = signed_in_as("researcher", name="eve")
    for served, act in ((False, "promotion"), (True, "retirement")):
        row = make_checkpoint(session, run, served=served)
        reply = eve.post(f"/checkpoints/{row.name}/{act}")
        assert reply.status_code == 403
        assert "belongs to maker" in reply.text
        session.expire_all()
        assert (row.served_since is not None) is served
        session.delete(row)
        session.commit()


def test_only_an_administrator_says_whether_what_came_with_the_software_is_served(
    session, signed_in_as
):
    row = make_checkpoint(session, None, served=True)
    maker = signed_in_as("researcher", name="maker")
    reply = maker.post(f"/checkpoints/{row.name}/retirement")
    assert reply.status_code == 403
    assert "only an administrator" in reply.text
    assert signed_in_as("admin").post(f"/checkpoints/{row.name}/retirement").status_code == 303


def test_no_verb_of_a_study_can_be_called_for_a_stranger(session, opened):
    eve = studies.make_user(session, "eve", "researcher")
    bea = studies.make_user(session, "bea")
    [enrolment] = Enrolment.of_study(session, opened.id)
    for verb in (
        lambda: opened.enrol(session, bea, eve),
        lambda: opened.take_out(session, enrolment.id, eve, "a good reason"),
        lambda: opened.amend(session, eve, what="notes", text="x", reason="a good reason"),
        lambda: opened.unblind(session, eve, reason="a good reason", typed="UNBLIND"),
        lambda: opened.discard(session, eve, typed="DELETE"),
        lambda: opened.open(session, eve, []),
        lambda: opened.audit(session, eve, [], None),
    ):
        with pytest.raises(Forbidden, match="belongs to maker"):
            verb()


def test_a_page_does_not_offer_what_would_be_refused(session, signed_in_as, draft, run):
    checkpoint = make_checkpoint(session, run, served=False)
    eve, maker = signed_in_as("researcher", name="eve"), signed_in_as("researcher", name="maker")
    study, its = f"/reader-studies/{draft.id}", f"/checkpoints/{checkpoint.name}"
    for address, forms in (
        (study, f'method="post" action="{study}'),
        (f"{study}/audit", f'method="post" action="{study}'),
        (f"/runs/{run.id}", f'method="post" action="/runs/{run.id}'),
        (f"{its}/promotion", f'method="post" action="{its}'),
    ):
        assert forms in maker.get(address).text, address
        assert forms not in eve.get(address).text, address


def test_an_open_study_offers_a_stranger_nothing_and_names_its_owner(signed_in_as, opened):
    shown = signed_in_as("researcher", name="eve").get(f"/reader-studies/{opened.id}").text
    assert f'action="/reader-studies/{opened.id}' not in shown
    assert "only they or an administrator can change or end the study" in shown


# -- what works -----------------------------------------------------------------------------------


def test_the_owner_and_an_administrator_may(session, signed_in_as, opened, run):
    [enrolment] = Enrolment.of_study(session, opened.id)
    url = f"/reader-studies/{opened.id}"
    studies.make_user(session, "bea")
    session.commit()
    maker, boss = signed_in_as("researcher", name="maker"), signed_in_as("admin", name="boss")
    assert maker.post(f"{url}/enrolments", data={"reader": "bea"}).status_code == 303
    why = {"reason": "a good reason"}
    assert boss.post(f"{url}/enrolments/{enrolment.id}/withdrawal", data=why).status_code == 303
    done = {**why, "typed": "UNBLIND"}
    assert boss.post(f"{url}/unblinding", data=done).status_code == 303
    assert boss.post(f"/runs/{run.id}/cancellation").status_code == 303


def test_an_administrator_hands_a_study_over_when_its_owner_leaves(session, signed_in_as, opened):
    studies.make_user(session, "eve", "researcher")
    session.commit()
    boss, eve = signed_in_as("admin", name="boss"), signed_in_as("researcher", name="eve")
    url = f"/reader-studies/{opened.id}"
    assert "Hand over" in boss.get(url).text
    assert boss.post(f"{url}/ownership", data={"name": "eve"}).status_code == 303
    session.expire_all()
    assert (opened.owner.name, opened.made_by.name) == ("eve", "maker")
    event = session.scalars(sa.select(Event).where(Event.kind.contains("handed over"))).one()
    assert (event.actor, event.subject) == ("boss", str(opened.id))
    assert event.detail == {"was": "maker", "now": "eve"}
    done = {"reason": "a good reason", "typed": "UNBLIND"}
    maker = signed_in_as("researcher", name="maker")
    assert maker.post(f"{url}/unblinding", data=done).status_code == 403
    assert eve.post(f"{url}/unblinding", data=done).status_code == 303


def test_a_run_is_handed_over_with_its_checkpoints(session, signed_in_as, run):
    checkpoint = make_checkpoint(session, run, served=False)
    boss, eve = signed_in_as("admin", name="boss"), signed_in_as("researcher", name="eve")
    assert eve.post(f"/checkpoints/{checkpoint.name}/promotion").status_code == 403
    assert boss.post(f"/runs/{run.id}/ownership", data={"name": "eve"}).status_code == 303
    assert eve.post(f"/checkpoints/{checkpoint.name}/promotion").status_code == 303


def test_nothing_is_handed_to_who_could_not_use_it(session, opened):
    boss = studies.make_user(session, "boss", "admin")
    gone = studies.make_user(session, "gone", "researcher")
    gone.disable(session, "boss")
    for to, words in (
        (studies.make_user(session, "rea", "reader"), "is a reader's"),
        (gone, "is disabled"),
        (User.require(session, "maker"), "already"),
    ):
        with pytest.raises(Conflict, match=words):
            opened.hand_over(session, to, boss)
    with pytest.raises(Forbidden):
        opened.hand_over(session, boss, User.require(session, "maker"))
