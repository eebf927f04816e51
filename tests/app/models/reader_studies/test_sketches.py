"""The wizard: every step has an address, nothing typed is lost, and a sketch is its maker's."""

from __future__ import annotations

import html
import re

import pytest
import sqlalchemy as sa

import studies
from app.errors import Unreadable
from app.models import Checkpoint, ReaderStudy, Sketch
from app.models.reader_studies.design import DESIGNS
from app.models.reader_studies.sketch import MOST
from app.models.reader_studies.steps import filled_by
from app.models.reader_studies.stimulus import Source
from app.models.reader_studies.typed import per_class
from app.models.runs.dataset import DatasetVersion
from ml.lesion import LIVER, LesionClass, LesionScheme

JSON = {"accept": "application/json"}
OTHER = LesionScheme("other", tuple(LesionClass(key, key) for key in ("solid", "mixed", "ground")))
TURNED = LesionScheme("turned", tuple(reversed(LIVER.classes)))


@pytest.fixture
def data(app, session):
    app.state.inference = studies.NoNetworks()
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    session.commit()


@pytest.fixture
def browser(data, signed_in_as):
    return signed_in_as("researcher")


def begin(browser, **typed) -> str:
    """A sketch; its address without the step."""
    reply = browser.post("/reader-studies/sketches", data={"title": "T", "preset": "own", **typed})
    assert reply.status_code == 303, reply.text
    return reply.headers["location"].rpartition("/")[0]


def step(browser, sketch, name, **typed):
    """Fill in a step as a browser would: what it shows, with ``typed`` in place of some."""
    shown = browser.get(f"{sketch}/{name}")
    assert shown.status_code == 200
    return browser.post(f"{sketch}/{name}", data={**fields(shown.text), "go": "next", **typed})


def fields(page: str) -> dict[str, str]:
    """What a form would send: inputs, texts, choices."""
    form = page.partition('id="sketch"')[2].partition("</form>")[0]
    found: dict[str, str] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        told = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if told.get("type") in ("checkbox", "radio") and " checked" not in tag:
            continue
        found[told["name"]] = html.unescape(told.get("value", ""))
    for name, text in re.findall(r'<textarea [^>]*name="(\w+)"[^>]*>(.*?)</textarea>', form, re.S):
        found[name] = html.unescape(text)
    for name, inner in re.findall(r'<select [^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)" selected', inner)
        found[name] = chosen[1] if chosen else re.search(r'value="([^"]*)"', inner)[1]
    return found


def alert(browser, address) -> str:
    page = browser.get(address).text
    page = re.sub(r'<p class="scriptless".*?</p>', "", page)
    return html.unescape(re.sub(r"<[^>]+>", "", page.partition('role="alert"')[2][:900])).strip()


def stored(session) -> Sketch:
    session.expire_all()
    return session.scalars(sa.select(Sketch)).one()


# -- refusals -------------------------------------------------------------------------------------


def test_another_researchers_sketch_is_not_found(browser, session, signed_in_as):
    sketch = begin(browser, title="Mine alone")
    other = signed_in_as("researcher", name="rival")
    for reply in (
        other.get(f"{sketch}/images"),
        other.post(f"{sketch}/images", data={"real": "1"}),
        other.post(f"{sketch}/composition"),
        other.post(f"{sketch}/deletion"),
    ):
        assert reply.status_code == 404
    assert "Mine alone" not in other.get("/reader-studies").text
    assert "Mine alone" in browser.get("/reader-studies").text
    assert signed_in_as("admin").get(f"{sketch}/images").status_code == 404
    reader = signed_in_as("reader")
    assert reader.get(f"{sketch}/images").status_code == 403
    assert reader.post("/reader-studies/sketches", data={"title": "T"}).status_code == 403


def share(browser, sketch, *people, step="images"):
    return browser.post(f"{sketch}/sharing", data={"person": people, "step": step})


def test_a_shared_sketch_is_its_partners_to_change_and_its_makers_to_delete_and_share(
    browser, session, signed_in_as
):
    sketch = begin(browser, title="Ours")
    partner = signed_in_as("researcher", name="partner")
    signed_in_as("researcher", name="stranger")
    assert share(browser, sketch, "partner").headers["location"] == f"{sketch}/images"
    assert "Shared with partner" in browser.get(f"{sketch}/images").text
    listed = html.unescape(partner.get("/reader-studies").text)
    assert "Ours" in listed and "researcher, shared with you" in listed
    assert f"{sketch}/deletion" not in listed
    assert "began this sketch and shares it with you" in partner.get(f"{sketch}/images").text
    step(partner, sketch, "images", seed="7", go="keep")
    page = html.unescape(browser.get(f"{sketch}/images").text)
    assert 'value="7"' in page and "This step was changed last by partner, " in page
    assert "last by researcher, " in browser.get(f"{sketch}/design").text
    assert "by partner" in browser.get("/reader-studies").text
    for reply in (
        partner.post(f"{sketch}/deletion"),
        share(partner, sketch, "stranger"),
        signed_in_as("researcher", name="stranger").get(f"{sketch}/images"),
    ):
        assert reply.status_code == 404
    step(browser, sketch, "images", seed="7", go="next")  # who changes nothing has changed nothing
    assert stored(session).changed().by.name == "partner"
    assert share(browser, sketch).status_code == 303
    assert partner.get(f"{sketch}/images").status_code == 404
    assert "Ours" not in partner.get("/reader-studies").text


def test_who_may_make_no_studies_is_given_no_sketch(browser, session, signed_in_as):
    sketch = begin(browser)
    signed_in_as("reader", name="eve")
    refused = share(browser, sketch, "eve")
    assert refused.status_code == 422 and "eve may not make reader studies" in refused.text
    assert share(browser, sketch, "researcher").status_code == 422
    assert share(browser, sketch, "nobody").status_code == 404
    assert stored(session).shared_with == []


def test_two_people_write_nothing_over_unseen_and_are_told_whose_it_is(
    browser, session, signed_in_as
):
    sketch = begin(browser)
    partner = signed_in_as("researcher", name="partner")
    share(browser, sketch, "partner")
    mine, theirs = (fields(one.get(f"{sketch}/images").text) for one in (browser, partner))
    partner.post(f"{sketch}/images", data={**theirs, "real": "4", "go": "keep"})
    kept = browser.post(f"{sketch}/images", data={**mine, "real": "6", "go": "keep"}, headers=JSON)
    assert kept.status_code == 409
    assert "changed by partner meanwhile, where it says: real “4”" in kept.json()["detail"]
    refused = browser.post(f"{sketch}/images", data={**mine, "real": "6", "go": "next"})
    assert refused.status_code == 409
    assert stored(session).typed["real"] == "4"
    again = fields(refused.text)
    assert again["real"] == "6"
    browser.post(f"{sketch}/images", data={**again, "go": "keep"})
    assert stored(session).typed["real"] == "6"


def test_what_one_is_refused_is_not_said_to_the_other(browser, session, signed_in_as):
    """One may be blinded in another study, where such words could tell."""
    sketch = begin(browser)
    partner = signed_in_as("researcher", name="partner")
    share(browser, sketch, "partner")
    step(browser, sketch, "images", real="70", synthetic="3")
    assert "There are 2 cyst" in alert(browser, f"{sketch}/images")
    assert alert(partner, f"{sketch}/images") == ""


def test_a_step_that_there_is_not_is_not_found(browser):
    sketch = begin(browser)
    for name in ("²", "6", "imagesx"):
        assert browser.get(f"{sketch}/{name}").status_code == 404
        assert browser.post(f"{sketch}/{name}").status_code == 404


def test_a_refused_step_keeps_what_was_typed_and_says_why(browser, session):
    sketch = begin(browser, title="My own title")
    reply = step(browser, sketch, "images", real="2", near_limit="2")
    assert reply.headers["location"] == f"{sketch}/images"
    assert "from 0.5 to 0.999" in browser.get(f"{sketch}/images").text
    step(browser, sketch, "images", near_limit="", go="keep")
    for real, said in (
        ("2000", "from 1 to 1000"),
        ("-3", "whole number"),
        ("70", "There are 2 cyst"),
        ("2, 1, 1", "or by class as in 'cyst 1, metastasis 1, hemangioma 1'"),
        ("cyst 2, metastasis 1", "no number for hemangioma"),
    ):
        reply = step(browser, sketch, "images", real=real)
        assert reply.status_code == 303
        assert reply.headers["location"] == f"{sketch}/images"
        for _ in range(2):  # a reload shows the same
            page = html.unescape(browser.get(f"{sketch}/images").text)
            assert said in page
            assert f'value="{real}"' in page
    assert step(browser, sketch, "images", real="3", synthetic="3").headers["location"] == (
        f"{sketch}/reading"
    )
    assert alert(browser, f"{sketch}/images") == ""


def test_a_study_without_a_title_is_not_composed_and_keeps_itsfilled_by(browser, session):
    sketch = begin(browser, title=" ", preset="paper")
    assert "Give the study a title" in alert(browser, f"{sketch}/design")
    assert fields(browser.get(f"{sketch}/design").text)["preset"] == "paper"
    browser.post(f"{sketch}/composition")
    assert "Give the study a title" in alert(browser, f"{sketch}/check")
    assert session.scalars(sa.select(ReaderStudy)).all() == []


def test_two_tabs_write_nothing_over_unseen(browser, session):
    sketch = begin(browser)
    here = fields(browser.get(f"{sketch}/images").text)
    there = dict(here)
    browser.post(f"{sketch}/images", data={**there, "real": "4", "go": "keep"})
    refused = browser.post(f"{sketch}/images", data={**here, "real": "6", "go": "next"})
    assert refused.status_code == 409
    page = html.unescape(refused.text)
    assert "changed in another tab or window, where it says: real “4”" in page
    assert 'value="6"' in page
    assert stored(session).typed["real"] == "4"
    kept = browser.post(f"{sketch}/images", data={**here, "real": "6", "go": "keep"}, headers=JSON)
    assert kept.status_code == 409
    again = {**fields(refused.text), "go": "next"}
    assert browser.post(f"{sketch}/images", data=again).status_code == 303
    assert stored(session).typed["real"] == "6"


def test_what_a_page_wrote_without_an_answer_is_its_own(browser, session):
    """The first answer is lost: the page goes on from what it saw before."""
    sketch = begin(browser)
    here = {**fields(browser.get(f"{sketch}/images").text), "go": "keep", "page": "this one"}
    there = {**here, "page": "another"}

    def keep(page, turn, real):
        sent = {**page, "turn": str(turn), "real": real}
        return browser.post(f"{sketch}/images", data=sent, headers=JSON)

    lost = keep(here, 1, "4")
    kept = keep(here, 3, "5")
    assert kept.status_code == lost.status_code == 200
    assert keep(here, 2, "6").json() == kept.json()  # it was under way for long
    assert stored(session).typed["real"] == "5"
    assert keep(there, 1, "7").status_code == 409
    assert keep({**there, "page": ""}, 1, "7").status_code == 409
    assert keep(there | {"seen": kept.json()["seen"]}, 2, "7").status_code == 200
    refused = keep(here, 4, "8")
    assert refused.status_code == 409 and "real “7”" in refused.json()["detail"]
    assert stored(session).typed["real"] == "7"


def test_a_page_begins_one_sketch_however_often_it_asks(browser, session, signed_in_as):
    new = {"sketch": "8b0f5a39-7a0f-4c58-9d86-0b3d1e1c2f10", "page": "p", "preset": "own"}
    address = "/reader-studies/sketches"
    for turn, title in ((1, "Ti"), (2, "Tit")):
        sent = {**new, "title": title, "turn": str(turn), "go": "keep"}
        assert new["sketch"] in browser.post(address, data=sent, headers=JSON).json()["address"]
    onward = browser.post(address, data={**new, "title": "Title", "turn": "3", "go": "next"})
    assert onward.headers["location"].endswith(f"{new['sketch']}/images")
    assert stored(session).title == "Title"
    other = signed_in_as("researcher", name="other")
    assert other.post(address, data={**new, "title": "Taken over"}).status_code == 404
    assert stored(session).title == "Title"


def test_two_tabs_on_different_steps_keep_what_both_typed(browser, session):
    sketch = begin(browser)
    images, reading = (fields(browser.get(f"{sketch}/{s}").text) for s in ("images", "reading"))
    browser.post(f"{sketch}/images", data={**images, "real": "4", "go": "keep"})
    browser.post(f"{sketch}/reading", data={**reading, "practice": "2", "go": "keep"})
    typed = stored(session).typed
    assert (typed["real"], typed["practice"]) == ("4", "2")


def test_nobody_has_more_sketches_than_can_be_looked_through(browser, session):
    for _ in range(MOST):
        begin(browser)
    refused = browser.post("/reader-studies/sketches", data={"title": "one more"})
    assert refused.status_code == 409
    assert "Delete some of them" in refused.text


# -- the way through ------------------------------------------------------------------------------


def test_every_step_has_an_address_that_opens_again_with_what_was_typed(browser, session):
    assert browser.get("/reader-studies/new").status_code == 200
    assert session.scalars(sa.select(Sketch)).all() == []  # looking makes nothing
    sketch = begin(browser, title="By steps", preset="balanced")
    step(browser, sketch, "images", real="cyst 2, metastasis 1, hemangioma 1", synthetic="4",
         exclude_near="0", exclude_own="0")  # fmt: skip
    for _ in range(2):
        page = html.unescape(browser.get(f"{sketch}/images").text)
        assert "cyst 2, metastasis 1, hemangioma 1" in page
    step(
        browser, sketch, "reading", practice="0", repeats="2", repeat_distance="3", break_every="0"
    )
    assert "Consent text" in browser.get(f"{sketch}/conduct").text
    step(browser, sketch, "conduct", ethics_reference="EK 7/26")
    check = html.unescape(browser.get(f"{sketch}/check").text)
    for words in ("By steps", "EK 7/26", "nobody reads an image again"):
        assert words in check
    made = browser.post(f"{sketch}/composition")
    assert made.status_code == 303
    [study] = session.scalars(sa.select(ReaderStudy))
    assert study.class_mix(Source.REAL) == {"cyst": 2, "metastasis": 1, "hemangioma": 1}
    design = study.design
    assert (design.repeats, design.class_confidence, design.exclude_own) == (2, True, False)
    assert "Not audited yet" in browser.get(f"/reader-studies/{study.id}/audit").text
    assert browser.post(f"/reader-studies/{study.id}/audit").status_code == 303
    assert "does not vary" in browser.get(f"/reader-studies/{study.id}/audit").text


def test_back_after_composing_leads_to_the_study_and_composes_no_second_one(browser, session):
    sketch = begin(browser)
    step(browser, sketch, "images", real="3", synthetic="3")
    made = browser.post(f"{sketch}/composition").headers["location"]
    for reply in (
        browser.get(f"{sketch}/images"),
        browser.post(f"{sketch}/images", data={"real": "5"}),
        browser.post(f"{sketch}/composition"),
    ):
        assert (reply.status_code, reply.headers["location"]) == (303, made)
    assert len(session.scalars(sa.select(ReaderStudy)).all()) == 1
    assert "Sketches" not in browser.get("/reader-studies").text
    browser.post(f"{made}/deletion", data={"typed": "DELETE"})
    assert "Sketches" in browser.get("/reader-studies").text  # it can be composed anew
    assert 'value="3"' in browser.get(f"{sketch}/images").text


def test_what_is_typed_is_kept_before_a_step_is_left(browser, session):
    reply = browser.post("/reader-studies/sketches", data={"title": "Ty", "go": "keep"}).json()
    assert "Ty" in browser.get(reply["address"]).text
    kept = browser.post(
        reply["address"], data={"title": "Typed", "go": "keep", "seen": reply["seen"]}
    )
    assert kept.json()["seen"] != reply["seen"]
    assert stored(session).title == "Typed"


def test_a_sketch_can_be_listed_taken_up_and_deleted(browser, session):
    sketch = begin(browser, title="For later")
    step(browser, sketch, "images", real="70")
    page = browser.get("/reader-studies").text
    assert f'href="{sketch}/images">For later' in page
    assert browser.post(f"{sketch}/deletion").status_code == 303
    assert browser.get(f"{sketch}/images").status_code == 404
    assert (
        "For later"
        not in browser.get("/reader-studies").text.partition("<main")[2].partition("<h1>")[2]
    )


# -- presets --------------------------------------------------------------------------------------


def test_a_presets_numbers_go_to_the_classes_that_they_name():
    paper = "cyst 53, metastasis 64, hemangioma 65"
    assert filled_by("paper", LIVER)["real"] == paper
    turned = filled_by("paper", TURNED)["real"]
    assert turned == "hemangioma 65, metastasis 64, cyst 53"
    for text in (paper, turned):
        for scheme in (LIVER, TURNED):
            assert per_class(text, "real images", scheme) == {
                "cyst": 53, "metastasis": 64, "hemangioma": 65,
            }  # fmt: skip


def test_for_another_scheme_of_as_many_classes_they_are_spread_and_that_is_said():
    filled = filled_by("paper", OTHER)
    assert (filled["real"], filled["synthetic"]) == ("182", "120")
    note = DESIGNS["paper"].note(OTHER)
    assert "gives numbers for cyst, metastasis, hemangioma" in note
    assert "This scheme has solid, mixed, ground" in note
    assert DESIGNS["paper"].note(TURNED) == ""
    for text in ("53, 64, 65", "cyst 53, metastasis 64, hemangioma 65"):
        with pytest.raises(Unreadable, match="solid 1, mixed 1, ground 1"):
            per_class(text, "real images", OTHER)


def test_choosing_another_scheme_takes_the_presets_numbers_along_rightly(browser, session):
    first = Checkpoint.require(session, "phantom-cnn")
    session.add(
        Checkpoint(
            name="turned", kind="classifier", training_kind="phantom", dataset_digest="0" * 64,
            meta={**first.meta, "name": "turned", "scheme": OTHER.to_dict()}, card="",
            onnx_digest=first.onnx_digest, weights_digest=first.weights_digest,
            served_since=first.served_since,
        )
    )  # fmt: skip
    session.commit()
    sketch = begin(browser, preset="paper")
    step(browser, sketch, "images", scheme="other", go="keep")
    typed = stored(session).typed
    assert (typed["scheme"], typed["real"], typed["synthetic"]) == ("other", "182", "120")
    assert "spread over its classes" in browser.get(f"{sketch}/images").text
    step(browser, sketch, "images", scheme="liver", real="9", go="keep")
    typed = stored(session).typed
    assert (typed["real"], typed["synthetic"]) == ("9", "cyst 40, metastasis 40, hemangioma 40")


def test_trying_another_preset_loses_nothing_of_the_first(browser, session):
    sketch = begin(browser, preset="own")
    step(browser, sketch, "images", real="6")
    step(browser, sketch, "design", preset="paper")
    assert stored(session).typed["real"].startswith("cyst 53")
    step(browser, sketch, "design", preset="own")
    assert stored(session).typed["real"] == "6"


def test_it_offers_versions_and_says_whose_training_rois_are_at_hand(app, session, signed_in_as):
    app.state.inference = studies.NoNetworks()
    generators = studies.make_generators(session)
    studies.make_known_lesions(session, 1)
    maker = studies.make_user(session, "maker", "researcher")
    archive = DatasetVersion.pack(session, "liver-one", LIVER, "phantom")
    version = DatasetVersion.freeze(session, maker, archive)
    session.execute(
        sa.update(Checkpoint)
        .where(Checkpoint.id == generators[0].id)
        .values(dataset_digest=version.digest)
    )
    studies.make_known_lesions(session, 1, first=50)
    session.commit()
    browser = signed_in_as("researcher")
    sketch = begin(browser, title="Frozen")
    images = browser.get(f"{sketch}/images").text
    assert 'name="versions" value="liver-one"' in images
    assert images.count("training ROIs at hand: liver-one") == 1
    assert images.count("training ROIs not at hand") == 2 + 3  # those that come with Hepatica too
    chosen = {"versions": "liver-one", "exclude_near": "1", "near_limit": "0.9", "synthetic": "3"}
    step(browser, sketch, "images", real="6", **chosen)
    assert "There are 1 cyst, 1 metastasis, 1 hemangioma in liver-one" in alert(
        browser, f"{sketch}/images"
    )
    step(browser, sketch, "images", real="3", **chosen)
    assert "3 from liver-one" in browser.get(f"{sketch}/check").text
    made = browser.post(f"{sketch}/composition")
    page = browser.get(made.headers["location"]).text
    assert f'dataset version liver-one <span class="mono small break soft">{version.digest}' in page
    assert "limit 0.900" in page


# -- images chosen by hand ------------------------------------------------------------------------


def test_images_chosen_among_the_synthetics_come_into_a_sketch_and_into_its_study(
    browser, session, signed_in_as
):
    cysts, others = (f"{studies.SOURCE_WORD}-phantom-{key}" for key in ("cyst", "metastasis"))
    address = f"/synthetics/{cysts}/sketches"
    for none in ({}, {"chosen": ["3"], "truncation": "0.5"}, {"chosen": ["-3"]}):
        assert browser.post(address, data=none).status_code == 422
    assert session.scalars(sa.select(Sketch)).all() == []
    begun = browser.post(address, data={"chosen": ["7", "3"], "truncation": "1"})
    assert begun.status_code == 303 and begun.headers["location"].endswith("/design")
    sketch = begun.headers["location"].rpartition("/")[0]
    assert stored(session).typed["chosen"] == f"{cysts} 3 7"
    step(browser, sketch, "design", title="Chosen", preset="own")
    # more into the same one: what was chosen before stays
    page = browser.get(f"/synthetics?checkpoint={others}").text
    assert f'value="{stored(session).id}">Chosen, ' in page
    again = {"chosen": ["9"], "sketch": str(stored(session).id)}
    assert browser.post(f"/synthetics/{others}/sketches", data=again).status_code == 303
    assert stored(session).typed["chosen"] == f"{cysts} 3 7\n{others} 9"
    assert stored(session).typed["title"] == "Chosen"
    rival = signed_in_as("researcher", name="rival")
    assert rival.post(address, data=again).status_code == 404
    assert signed_in_as("reader").post(address, data={"chosen": ["3"]}).status_code == 403

    refused = step(browser, sketch, "images", real="3", synthetic="3")
    assert refused.headers["location"] == f"{sketch}/images"
    assert "are chosen, and the study shows 1" in alert(browser, f"{sketch}/images")
    assert step(browser, sketch, "images", real="6", synthetic="6").headers["location"] == (
        f"{sketch}/reading"
    )
    assert f"{cysts} 3 7" in html.unescape(browser.get(f"{sketch}/check").text)
    composed = browser.post(f"{sketch}/composition")
    study = session.scalars(sa.select(ReaderStudy)).one()
    assert composed.headers["location"] == f"/reader-studies/{study.id}"
    assert {3, 7, 9} < {one.seed for one in study.plan.images.synthetic}
    assert (
        "Chosen by hand: 3 of the 6 synthetic images."
        in browser.get(composed.headers["location"]).text
    )
    late = browser.post(address, data={**again, "sketch": str(stored(session).id)})
    assert late.status_code == 409 and "images stay" in late.text
