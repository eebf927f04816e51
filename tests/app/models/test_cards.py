"""The card of a checkpoint: shown, taken as a file, and told the rest by its owner."""

from __future__ import annotations

import html
import json
from xml.etree import ElementTree as ET

import pytest
import sqlalchemy as sa

from app.models import Checkpoint, Event
from app.models.checkpoint import _NETWORKS
from ml.checkpoints import checkpoint as files
from ml.checkpoints.card import exports, making, words
from ml.checkpoints.card.card import KEYS
from ml.checkpoints.card.entry import Measured
from ml.checkpoints.card.exports import FORMS, Format
from tests.app.models.test_checkpoints import checkpoint, score_of

WORDS = "/checkpoints/phantom-cnn/words"
HOSTILE = "<script>alert(1)</script> & “ü” \u2600\n# Balanced accuracy 100 %"


@pytest.fixture
def admin(signed_in_as):
    return signed_in_as("admin")


def typed(session, name="phantom-cnn", **said: str) -> dict[str, str]:
    """The form as the browser sends it: every box, and what it was opened on."""
    session.expire_all()
    row = Checkpoint.require(session, name)
    kept = dict.fromkeys(words.FIELDS, "") | row.owners_words.typed
    return {**kept, "seen": row.words_version, **said}


def kept(session, name="phantom-cnn") -> dict[str, str]:
    session.expire_all()
    return Checkpoint.require(session, name).owners_words.typed


def changes(session) -> list[Event]:
    query = sa.select(Event).where(Event.kind == "card words changed").order_by(Event.at)
    return list(session.scalars(query))


def test_the_page_shows_every_field_and_no_markdown(signed_in_as):
    record = files.Checkpoint.load(files.WEIGHTS / "phantom-cnn").metrics.cross_validation
    cyst = Measured("sensitivity", record.sensitivity["cyst"]).told
    page = html.unescape(signed_in_as("reader").get("/checkpoints/phantom-cnn").text)
    main = page.partition("<main")[2]
    for number in range(1, 41):
        assert f'id="field-{number}"' in main
    assert "Sensitivity" not in main and "sensitivity</th>" in main
    assert cyst in main
    assert "Not stated: contact, funding, conflicts, who was consulted: the owner has not" in main
    assert "##" not in main and "**" not in main
    assert "Type the owner's words" not in main
    assert "/words" not in main


@pytest.mark.parametrize("format", Format)
def test_each_form_is_taken_from_the_page_and_over_the_api(format, signed_in_as, client, token):
    """They are what the command line prints of the same folder."""
    reader = signed_in_as("reader")
    expected = exports.written(making.of_folder(files.WEIGHTS / "phantom-cnn"), format)
    reply = reader.get(f"/checkpoints/phantom-cnn/card?format={format}")
    assert reply.content == expected
    assert reply.headers["content-disposition"] == (
        f'attachment; filename="phantom-cnn{FORMS[format].ending}"'
    )
    assert reply.headers["content-type"] == FORMS[format].media_type
    bearer = {"authorization": f"Bearer {token}"}
    call = "/api/v1/models/phantom-cnn/card"
    answer = client.get(f"{call}?format={format}", headers=bearer)
    assert answer.content == expected
    assert answer.headers["content-type"] == FORMS[format].media_type
    if format is Format.MARKDOWN:
        assert client.get(call, headers=bearer).content == expected
        model = client.get("/api/v1/models/phantom-cnn", headers=bearer).json()
        assert model["card"] == expected.decode()


def test_another_form_another_question_and_another_checkpoint_are_refused(
    signed_in_as, client, token
):
    reader = signed_in_as("reader")
    assert reader.get("/checkpoints/phantom-cnn/card?format=pdf").status_code == 422
    assert reader.get("/checkpoints/absent/card").status_code == 404
    bearer = {"authorization": f"Bearer {token}"}
    call = "/api/v1/models/phantom-cnn/card"
    refused = client.get(f"{call}?format=pdf", headers=bearer)
    assert refused.status_code == 422
    assert "chai-xml" in refused.text
    assert client.get(f"{call}?format=json&format=json", headers=bearer).status_code == 422
    assert client.get(f"{call}?form=json", headers=bearer).status_code == 422
    assert client.get("/api/v1/models/absent/card", headers=bearer).status_code == 404
    assert client.get(call).status_code == 401


def test_what_the_owner_types_is_in_every_form_as_words(admin, session, client, token):
    page = admin.get(WORDS)
    assert page.status_code == 200
    for field in words.FIELDS.values():
        assert html.escape(field["label"], quote=False) in page.text
    sent = typed(session, funding=HOSTILE, users="Radiologists")
    assert admin.post(WORDS, data=sent).status_code == 303
    shown = admin.get("/checkpoints/phantom-cnn").text
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "Typed by the owner" in shown
    assert "&lt;script&gt;" in admin.get(WORDS).text
    call = "/checkpoints/phantom-cnn/card?format="
    told = json.loads(admin.get(call + "json").content)
    assert tuple(told["fields"]) == KEYS
    funding = [
        one for one in told["fields"]["developer"]["statements"] if one["about"] == "funding"
    ]
    assert [(one["text"], one["source"]) for one in funding] == [(HOSTILE, "owner")]
    assert "alert(1)" in ET.fromstring(admin.get(call + "chai-xml").content).findtext(
        ".//{*}FundingSource"
    )
    markdown = admin.get(call + "markdown").text
    assert "\n> \\# Balanced accuracy 100 %" in markdown
    assert "\n# Balanced" not in markdown


def test_every_change_is_an_event_with_what_stood_there_before(admin, session):
    before = kept(session)
    admin.post(WORDS, data=typed(session, funding="A"))
    admin.post(WORDS, data=typed(session, funding="B", users=""))
    admin.post(WORDS, data=typed(session))
    told = changes(session)
    assert [event.detail["changed"] for event in told] == [
        {"funding": {"from": "", "to": "A"}},
        {"funding": {"from": "A", "to": "B"}, "users": {"from": before["users"], "to": ""}},
    ]
    assert {event.detail["name"] for event in told} == {"phantom-cnn"}
    # emptied is not the same as never typed: the software's own words do not come back
    Checkpoint.register_shipped(session)
    assert "users" not in kept(session)


def test_two_who_type_at_once_do_not_overwrite_each_other_in_silence(admin, session):
    opened = typed(session, contact="mine@here")
    admin.post(WORDS, data=typed(session, contact="theirs@here", funding="theirs"))
    refused = admin.post(WORDS, data=opened)
    assert refused.status_code == 409
    page = html.unescape(refused.text)
    assert "Somebody else has changed" in page
    assert 'value="mine@here"' in page
    assert "theirs@here" in page
    assert kept(session)["contact"] == "theirs@here"
    again = opened | {"seen": Checkpoint.require(session, "phantom-cnn").words_version}
    assert admin.post(WORDS, data=again).status_code == 303
    assert kept(session)["contact"] == "mine@here"
    # who sends what is kept already is told so, whatever they had before them
    assert admin.post(WORDS, data=opened).status_code == 303
    assert len(changes(session)) == 2


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({"funding": "x" * 4001}, 422, "4,001 characters"),
        ({"funding": "x" * 100_000}, 422, "100,000 characters"),
        ({"released": "soon"}, 422, "no date of the calendar"),
        ({"users": "\u202eabc"}, 422, "U+202E"),
        ({"founding": "x"}, 422, "There is nothing called"),
        ({"funding": "a\x00b"}, 400, ""),
        ({"funding": "a\x1bb"}, 400, ""),
    ],
)
def test_what_cannot_be_kept_comes_back_to_be_mended(admin, session, said, status, told):
    before = kept(session)
    refused = admin.post(WORDS, data=typed(session, contact="a long text that was typed", **said))
    assert refused.status_code == status
    assert told in html.unescape(refused.text)
    if status == 422:
        assert "a long text that was typed" in refused.text
    assert kept(session) == before
    assert changes(session) == []


def test_a_field_that_is_sent_twice_keeps_nothing(admin, session):
    body = "seen=x&funding=a&funding=b"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert admin.post(WORDS, content=body, headers=form).status_code in (400, 422)
    assert "funding" not in kept(session)


def test_only_the_run_s_owner_and_administrators_type_them(signed_in_as, session):
    maker = signed_in_as("researcher", name="maker")
    row = checkpoint(session, test=score_of(20, 20, 20))
    address = f"/checkpoints/{row.name}/words"
    sent = typed(session, row.name, funding="mine")
    for refused in (maker.get(address), maker.post(address, data=sent)):
        assert refused.status_code == 403
        assert "only an administrator can type" in html.unescape(refused.text)
    assert signed_in_as("reader").post(WORDS, data=typed(session, funding="x")).status_code == 403
    assert kept(session, row.name) == {}


def test_an_owner_of_a_run_types_for_its_checkpoint(signed_in_as, session, monkeypatch):
    row = checkpoint(session, test=score_of(20, 20, 20))
    monkeypatch.setattr(Checkpoint, "may_be_changed_by", lambda self, user: user.name == "maker")
    maker = signed_in_as("researcher", name="maker")
    sent = typed(session, row.name, funding="mine")
    assert maker.post(f"/checkpoints/{row.name}/words", data=sent).status_code == 303
    assert kept(session, row.name) == {"funding": "mine"}


def test_a_checkpoint_of_a_version_that_is_not_known_shows_the_card_it_came_with(
    signed_in_as, session, client, token
):
    row = checkpoint(session, format=99)
    reader = signed_in_as("reader")
    bearer = {"authorization": f"Bearer {token}"}
    page = html.unescape(reader.get(f"/checkpoints/{row.name}").text)
    assert row.card in page
    assert "Checkpoint format 99 is not 1" in page
    refused = reader.get(f"/checkpoints/{row.name}/card?format=json")
    assert refused.status_code == 422
    assert "format 99" in html.unescape(refused.text)
    call = f"/api/v1/models/{row.name}/card"
    assert client.get(call, headers=bearer).status_code == 422


def test_a_card_is_told_under_the_name_that_the_checkpoint_has_here(admin, session):
    row = checkpoint(session, test=score_of(20, 20, 20))
    row.name = "run-0-classic@abcd1234"
    session.commit()
    reply = admin.get(f"/checkpoints/{row.name}/card")
    assert reply.text.startswith("# run-0-classic@abcd1234\n")


def test_a_network_that_is_damaged_has_a_card_all_the_same(admin, session):
    row = checkpoint(session, test=score_of(20, 20, 20))
    _NETWORKS.clear()
    row.weights_digest = row.onnx_digest  # what is there is no safetensors
    session.commit()
    assert "files: they are not at hand here" in html.unescape(
        admin.get(f"/checkpoints/{row.name}").text
    )
    _NETWORKS.clear()
