"""Protocols as types: what is frozen comes back, and what is no protocol is refused in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

import studies
from app.errors import Damaged
from app.models import Protocol
from app.models.reader_studies.content import ProtocolContent
from app.models.reader_studies.design import DESIGNS, EARLIER_ANALYSIS, Design
from app.models.reader_studies.intent import UNSAID, Intent
from app.models.reader_studies.planned import Plan
from app.models.reader_studies.protocol import digest_of
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.stored import write
from ml.images.ct_slice import ImageKind


@pytest.fixture(scope="module")
def _frozen():
    """Filled by the first test that wants it: they look at a protocol, and none at its study."""
    return []


@pytest.fixture
def frozen(_frozen, request):
    if not _frozen:
        design = replace(
            DESIGNS["balanced"].design, practice=2, repeats=2, repeat_distance=3, exclude_near=False
        )
        session = request.getfixturevalue("session")
        study = studies.make_study(session, per_class=3, design=design)
        _frozen.append(json.dumps(study.protocol.content_json))
    return json.loads(_frozen[0])


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3}, "its format is 3, and 1 and 2 are known here"),
        ({"format": None}, "its format is None"),
        ({"later": 1}, "later is not known"),
        ({"kind": "ultrasound"}, "kind"),
        ({"images": "none"}, "images"),
        ({"scheme": {"name": "liver"}}, "lesion scheme"),
        ({"consent": {"text": "only"}}, "consent has other keys"),
        ({"order": {"seed": 1}}, "order.rule is missing"),
        ({"design": {"repeats": "many"}}, "design.repeats"),
        ({"design": {"telepathy": True}}, "design.telepathy is not known"),
        ({"intent": {"telepathy": True}}, "design.intent.telepathy is not known"),
        ({"intent": {"primary": {"claim": "better"}}}, "design.intent.primary.claim"),
        ({"sources": {"real": "x", "versions": [{"name": "v"}]}}, "versions.0.digest is missing"),
    ],
)
def test_what_is_no_protocol_is_refused_with_the_place(frozen, change, said):
    with pytest.raises(Damaged) as refusal:
        ProtocolContent.from_json({**frozen, **change})
    assert said in refusal.value.detail
    assert "restore a backup" in refusal.value.detail


@pytest.mark.parametrize(
    "key",
    ["format", "study", "title", "scheme", "kind", "window_hu", "images", "order", "questions",
     "display", "design", "margin", "analysis", "instructions", "ethics_reference", "consent"],
)  # fmt: skip
def test_a_missing_key_is_named(frozen, key):
    rest = {name: value for name, value in frozen.items() if name != key}
    with pytest.raises(Damaged, match="cannot be read"):
        ProtocolContent.from_json(rest)


@pytest.mark.parametrize("found", [None, [], "text", 3, {}])
def test_what_is_no_object_is_refused(found):
    with pytest.raises(Damaged, match="cannot be read"):
        ProtocolContent.from_json(found)
    with pytest.raises(Damaged, match="plan of the study cannot be read"):
        Plan.from_json(found)


def test_a_refusal_repeats_no_value(frozen):
    wrong = {**frozen, "images": [{**frozen["images"][0], "seed": "a secret seed"}]}
    with pytest.raises(Damaged) as refusal:
        ProtocolContent.from_json(wrong)
    assert "secret" not in refusal.value.detail


def test_a_damaged_protocol_is_a_plain_page_and_no_fault(app, session, signed_in_as, monkeypatch):
    study = studies.make_study(session)
    studies.tamper(session, "protocol")
    session.execute(sa.update(Protocol).values(content_json={"format": 2}))
    session.commit()
    reply = signed_in_as("researcher").get(f"/reader-studies/{study.id}")
    assert reply.status_code == 500
    assert "The protocol of the study cannot be read" in reply.text


# -- what comes back ------------------------------------------------------------------------------


def test_a_frozen_protocol_comes_back_as_it_was_and_with_its_hash(frozen):
    content = ProtocolContent.from_json(frozen)
    assert content.to_json() == json.loads(json.dumps(frozen))
    assert digest_of(content.to_json()) == digest_of(frozen)
    assert content.kind is ImageKind.PHANTOM
    assert {one.truth for one in content.images} == set(Source)
    assert (len(content.images), len(content.practice), content.design.repeats) == (12, 2, 2)


def test_an_amended_protocol_comes_back_with_what_was_amended(session):
    study = studies.make_study(session)
    maker = studies.make_user(session, "maker")
    for what, text in (("notes", "two rooms"), ("margin", "0,12"), ("analysis", "Only AUC.")):
        study.amend(session, maker, what=what, text=text, reason="asked by a reviewer")
    content = study.protocol.content
    assert (content.notes, content.design.margin) == ("two rooms", 0.12)
    assert content.design.analysis == "Only AUC."
    assert content.to_json() == study.protocol.content_json
    assert study.design.margin == 0.10  # what readers see comes from the opening


def test_a_protocol_of_format_1_reads_as_it_did(frozen):
    old = {key: frozen[key] for key in ("study", "title", "scheme", "kind", "window_hu", "images",
                                        "order", "questions", "display")}  # fmt: skip
    told = {"called_synthetic_from_rating": 4, "per_reader": ["accuracy"], "interval": "Wilson"}
    content = ProtocolContent.from_json({**old, "format": 1, "analysis": told})
    assert content.design == Design(
        exclude_read=False,
        exclude_seen=False,
        leave_out_unsent=None,
        least_ms=0,
        least_off=None,
        least_ratings=None,
        intent=UNSAID,
        analysis=EARLIER_ANALYSIS,
    )
    assert (content.audit, content.practice, content.called_synthetic_from_rating) == (None, (), 4)
    amended = {**old, "format": 1, "analysis": "Only AUC.", "margin": 0.2, "notes": "n",
               "intent": write(Intent(missing=None))}  # fmt: skip
    content = ProtocolContent.from_json(amended)
    assert (content.design.analysis, content.design.margin) == ("Only AUC.", 0.2)
    assert content.design.intent == Intent(missing=None)


def test_choices_that_came_later_are_as_they_were_before(frozen):
    later = ("exclude_read", "lesion_class", "near_limit")
    design = {key: value for key, value in frozen["design"].items() if key not in later}
    rest = {key: value for key, value in frozen.items() if key not in ("sources", "intent")}
    content = ProtocolContent.from_json({**rest, "design": design})
    assert content.design.intent == UNSAID
    assert (content.design.exclude_read, content.design.lesion_class) == (False, True)
    assert content.sources.real == "all reviewed lesions"


def test_a_plan_comes_back_and_plans_of_earlier_versions_read(session):
    study = studies.make_study(session, opened=False)
    assert study.plan.to_json() == study.plan_json
    bare = {key: study.plan_json[key] for key in ("real", "synthetic")}
    plan = Plan.from_json(bare)
    assert plan.images == study.plan.images
    assert (len(plan.practice), plan.sources.versions) == (0, ())
    with pytest.raises(Damaged, match=r"real\.0\.lesion"):
        Plan.from_json({**bare, "real": [{"lesion": "no id", "lesion_class": "cyst"}]})


# -- what is not read -----------------------------------------------------------------------------


def test_lists_of_studies_and_desks_read_neither_protocol_nor_plan(app, session, signed_in_as):
    studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    browsers = signed_in_as("reader", name="ada"), signed_in_as("researcher")
    for browser, address in zip(browsers, ("/readings", "/reader-studies"), strict=True):
        assert browser.get(address).status_code == 200
    asked = statements(app)
    for browser, address in zip(browsers, ("/readings", "/reader-studies"), strict=True):
        assert browser.get(address).status_code == 200
    assert not reads_of(asked)


def statements(app) -> list[str]:
    """Every statement from now on."""
    asked: list[str] = []
    engine = app.state.database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    return asked


def reads_of(asked: list[str]) -> list[str]:
    """Those that read the content of a protocol or a plan; a database may quote a name."""
    long = ("protocol.content", "reader_study.plan")
    return [one for one in asked if any(name in one.replace('"', "") for name in long)]
