"""Blinding: what a reader can get never tells what a trial is, and what tells is closed to them."""

from __future__ import annotations

import dataclasses
import io
import re
import uuid
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

import studies
from app import place
from app.models import (
    ApiToken,
    Blob,
    Case,
    Checkpoint,
    Event,
    Lesion,
    Prediction,
    Stimulus,
    Trial,
)
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.trial import BlindTrial
from factories import make_png
from ml.lesion import LIVER, LesionClass, LesionScheme
from ml.trust.answer import Said

NUMBER = "x-request-id"
"""The one head that differs between any two answers."""
JSON = {"accept": "application/json"}
CLASSES = LIVER.keys


@pytest.fixture
def study(app, session):
    app.state.inference = studies.NoNetworks()
    made = studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    return made


@pytest.fixture
def enrolment(session, study):
    [made] = Enrolment.of_study(session, study.id)
    return made


@pytest.fixture
def ada(study, signed_in_as):
    return signed_in_as("reader", name="ada")


def order(session, enrolment) -> list[Trial]:
    return list(
        session.scalars(
            sa.select(Trial).where(Trial.enrolment_id == enrolment.id).order_by(Trial.position)
        )
    )


def finish(browser, session, enrolment) -> None:
    for trial in order(session, enrolment):
        body = {"trial": trial.token, "key": trial.token, "lesion_class": "cyst", "rating": "3"}
        assert browser.post(f"/readings/{enrolment.token}", data=body, headers=JSON).is_success


def study_cases(session, study) -> list[Case]:
    lesions = [one.lesion for one in Stimulus.of_study(session, study.id) if one.lesion]
    return [session.get(Case, lesion.case_id) for lesion in lesions]


# -- shape ----------------------------------------------------------------------------------------


def test_a_blind_trial_has_no_field_for_an_answer():
    names = [field.name for field in dataclasses.fields(BlindTrial)]
    assert names == ["token", "position", "total", "choices"]


# -- the canary -----------------------------------------------------------------------------------


def secrets_of(session, study) -> set[str]:
    """Everything that would tell: ids, digests, seeds, names of sources."""
    told = {str(study.seed), str(study.id), study.kind}
    told |= {studies.SOURCE_WORD, studies.PATIENT_WORD.lower(), "phantom", "truth"}
    told |= {row.name.lower() for row in session.scalars(sa.select(Checkpoint))}
    both = (Stimulus.of_study(session, study.id, practice=value) for value in (False, True))
    for stimulus in (one for stimuli in both for one in stimuli):
        told |= {str(stimulus.id), stimulus.pixels_digest, stimulus.patient or "-no patient-"}
        told |= {str(stimulus.seed)} if stimulus.seed is not None else set()
        for one in (stimulus.lesion_id, stimulus.checkpoint_id):
            told |= {str(one)} if one else set()
        if stimulus.lesion:
            case = session.get(Case, stimulus.lesion.case_id)
            told |= {str(case.id), case.pseudonym.lower(), case.patient}
    return told


EVERYTHING = Design(
    class_confidence=True, reasons=True, practice=2, repeats=3, repeat_distance=2, break_every=5,
    size_mm=100.0, window=True, zoom=True, back=True,
)  # fmt: skip


WITHOUT_CLASS = Design(lesion_class=False, reasons=True, practice=2)


@pytest.mark.long
@pytest.mark.parametrize(
    "design",
    [Design(), EVERYTHING, WITHOUT_CLASS],
    ids=["plain", "everything", "without lesion class"],
)
def test_no_response_of_a_whole_reading_tells_what_a_trial_is(app, session, signed_in_as, design):
    """Every byte that a reader gets, over the whole of a study, against everything that tells."""
    app.state.inference = studies.NoNetworks()
    study = studies.make_study(
        session, studies.make_user(session, "ada"), seed=918273645546, design=design, per_class=3
    )
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    told = secrets_of(session, study)
    ada = signed_in_as("reader", name="ada")
    url = f"/readings/{enrolment.token}"
    got = []

    def take(reply) -> None:
        head = " ".join(f"{name}: {value}" for name, value in reply.headers.items())
        got.append((str(reply.request.url), f"{reply.request.url} {head}".lower(), reply))

    for page in ("/readings", "/reader-studies", "/docs"):
        take(ada.get(page))
    take(ada.get(f"{url}/conduct"))
    take(ada.post(f"{url}/conduct", data={"years": "many"}))
    more = {"lesion_class": "cyst"} if design.lesion_class else {}
    more |= {"class_confidence": "3"} if design.class_confidence else {}
    for trial in order(session, enrolment):
        take(ada.get(url))
        take(ada.get(url, headers=JSON))
        take(ada.get(f"/pixels/{trial.token}"))
        body = {"trial": trial.token, "key": trial.token, "rating": "3", **more}
        take(ada.post(url, data=body | {"rating": "9"}, headers=JSON))
        answered = ada.post(url, data=body, headers=JSON)
        assert answered.status_code == 201
        assert ("feedback" in answered.json()) == (trial.kind == "practice")
        take(answered)
        take(ada.post(url, data=body | {"rating": "1"}))
        take(ada.get(f"{url}?position={trial.position}"))
        take(ada.get(f"{url}?position={trial.position}", headers=JSON))
    take(ada.get(url))
    take(ada.get("/readings"))
    take(ada.get("/synthetics/guess/1.png"))
    scripts = [one.name for one in (place.ROOT / "static/js/desk").iterdir()]
    assert len(scripts) > 5
    for name in [f"js/desk/{script}" for script in scripts] + [
        "js/desk.js", "css/desk.css", "js/conduct.js", "css/conduct.css",
    ]:  # fmt: skip
        take(ada.get(f"/static/{name}"))
    assert len(got) > 12 * 6
    for address, head, reply in got:
        text = head
        if reply.headers.get("content-type", "").startswith(("text", "application")):
            text += reply.text.lower()
        else:
            text += repr(reply.content).lower()
        leaked = {secret for secret in told if secret in text}
        if address.endswith("/docs"):
            leaked -= {"truth", "phantom"}  # words of the API's description
        assert not leaked, f"{address} tells {leaked}"


def test_a_repeat_looks_like_any_other_trial(app, session, signed_in_as):
    """Nothing that the desk says of a trial tells whether it is a first or a second showing."""
    study = studies.make_study(
        session, studies.make_user(session, "ada"), design=Design(repeats=4, repeat_distance=3)
    )
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    ada = signed_in_as("reader", name="ada")
    url = f"/readings/{enrolment.token}"
    said = {}
    for trial in order(session, enrolment):
        page = re.sub(r"[A-Za-z0-9_-]{32}", "TOKEN", ada.get(url).text)
        page = re.sub(r'"answered": ?\d+|"position": ?\d+|data-position>\d+<', "PLACE", page)
        page = re.sub(r'"minutes_left": ?(null|\d+)|about \d+ min left', "LEFT", page)
        page = re.sub(r'"upcoming": ?\[.*?\]', "UPCOMING", page)
        said.setdefault(re.sub(r"LEFT(?=</span>)", "", page), set()).add(trial.kind)
        body = {"trial": trial.token, "key": trial.token, "lesion_class": "cyst", "rating": "3"}
        reply = ada.post(url, data=body, headers=JSON)
        assert set(reply.json()) == {"state", "answered", "total", "minutes_left", "upcoming"}
    assert list(said.values()) == [{"first", "repeat"}]


def test_class_words_appear_only_among_the_fixed_answers(session, study, enrolment, ada):
    """Every class word, in the page of every trial, stands where it stands in all the others."""
    places = set()
    for trial in order(session, enrolment):
        page = ada.get(f"/readings/{enrolment.token}").text
        places.add(
            tuple(
                match.group().lower()
                for match in re.finditer("|".join([*CLASSES, "real", "synthetic"]), page, re.I)
            )
        )
        picture = ada.get(f"/pixels/{trial.token}")
        raw = picture.content.lower() + str(picture.headers).lower().encode()
        assert not any(word.encode() in raw for word in (*CLASSES, "real", "synthetic", "seed"))
        body = {"trial": trial.token, "key": trial.token, "lesion_class": "cyst", "rating": "3"}
        reply = ada.post(f"/readings/{enrolment.token}", data=body, headers=JSON)
        assert not any(word in reply.text.lower() for word in (*CLASSES, 'real"', "synthetic"))
    assert len(places) == 1


def test_real_and_synthetic_trials_are_alike_but_for_token_and_position(
    session, study, enrolment, ada
):
    url = f"/readings/{enrolment.token}"
    pages, answers, pictures, heads, sizes = set(), set(), set(), set(), set()
    seen = set()
    for trial in order(session, enrolment):
        seen.add(trial.stimulus.truth)
        page = ada.get(url)
        text = re.sub(r"[A-Za-z0-9_-]{32}", "TOKEN", page.text)
        text = re.sub(r'"answered": ?\d+|"position": ?\d+|data-position>\d+<', "PLACE", text)
        text = re.sub(r'"minutes_left": ?(null|\d+)|about \d+ min left', "LEFT", text)
        # what may be fetched ahead shrinks towards the end, whatever the trials are
        text = re.sub(r'"upcoming": ?\[.*?\]', "UPCOMING", text)
        pages.add(re.sub(r"LEFT(?=</span>)", "", text))
        picture = ada.get(f"/pixels/{trial.token}")
        pictures.add(picture.content)
        sizes.add((len(picture.content), picture.headers["content-length"]))
        heads.add(tuple(sorted(one for one in picture.headers.items() if one[0] != NUMBER)))
        body = {"trial": trial.token, "key": trial.token, "lesion_class": "cyst", "rating": "3"}
        reply = ada.post(url, data=body, headers=JSON)
        answers.add((reply.status_code, tuple(reply.json())))
    assert seen == {"real", "synthetic"}
    assert len(pages) == 1
    assert len(answers) == 1
    assert len(sizes) == 1
    assert len(heads) == 1
    assert len(pictures) == 12


def test_a_picture_is_kept_by_no_cache_and_has_no_name(session, enrolment, ada):
    first = order(session, enrolment)[0]
    headers = ada.get(f"/pixels/{first.token}").headers
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "image/png"
    for name in ("etag", "last-modified", "content-disposition", "content-encoding", "age"):
        assert name not in headers


def test_tokens_differ_between_readers_of_the_same_picture(session, study):
    bea = studies.make_user(session, "bea")
    study.enrol(session, bea, study.owner)
    tokens = session.execute(sa.select(Trial.stimulus_id, Trial.token)).all()
    assert len(tokens) == 24
    assert len({token for _, token in tokens}) == 24


# -- what is closed while one reads ---------------------------------------------------------------


def synthetic_addresses(session) -> list[str]:
    name = session.scalars(
        sa.select(Checkpoint.name).where(Checkpoint.name.contains(studies.SOURCE_WORD))
    ).first()
    return [
        "/synthetics",
        f"/synthetics/{name}/1.png",
        f"/synthetics/{name}/sheet?seed=1&count=2",
        f"/synthetics/{name}/download?seed=1&count=2",
    ]


def test_synthetics_are_closed_until_the_reading_is_finished(session, study, enrolment, ada):
    addresses = synthetic_addresses(session)
    for address in addresses:
        reply = ada.get(address)
        assert reply.status_code == 403, address
    assert "blinded reading to finish" in reply.text
    refused = session.scalars(
        sa.select(Event.actor).where(Event.kind == "synthetics refused to a blinded reader")
    ).all()
    assert refused == ["ada"] * len(addresses)
    assert ada.get("/checkpoints").status_code == 200
    finish(ada, session, enrolment)
    assert [ada.get(address).status_code for address in addresses] == [200] * len(addresses)


def test_synthetics_open_again_when_the_study_is_unblinded(session, study, ada):
    maker = studies.make_user(session, "maker")
    study.unblind(session, maker, reason="enough was read", typed="UNBLIND")
    session.commit()
    assert ada.get("/synthetics").status_code == 200


@pytest.mark.parametrize("how", ["finished", "withdrawn"])
def test_who_has_left_is_told_nothing_while_colleagues_read(
    session, study, enrolment, ada, signed_in_as, how
):
    bea = study.enrol(session, studies.make_user(session, "bea"), study.owner)
    [case, *_] = study_cases(session, study)
    session.commit()
    if how == "finished":
        finish(ada, session, enrolment)
    else:
        enrolment.withdraw(session, enrolment.reader, "no time for it")
        session.commit()
    looks = [*synthetic_addresses(session), f"/cases/{case.id}"]
    for address in looks:
        reply = ada.get(address)
        assert reply.status_code == 403
        assert "Colleagues still read a study that you have read" in reply.text
    maker = signed_in_as("researcher", name="maker")
    page = maker.get(f"/reader-studies/{study.id}").text
    assert "ada has left the reading. Sources and synthetic lesions stay closed to them" in page
    assert "while bea has to read" in page
    bea.withdraw(session, study.owner, "no time for it either")
    session.commit()
    assert {ada.get(address).status_code for address in looks} == {200}


@pytest.mark.parametrize("role", ["researcher", "admin"])
def test_whoever_reads_is_blind_whatever_their_role(session, study, signed_in_as, role):
    person = studies.make_user(session, "boss", role)
    study.enrol(session, person, study.owner)
    [case, *_] = study_cases(session, study)
    session.commit()
    boss = signed_in_as(role, name="boss")
    assert boss.get("/synthetics").status_code == 403
    assert boss.get(f"/cases/{case.id}").status_code == 403


def test_nobody_else_is_blind(session, study, signed_in_as):
    other = signed_in_as("reader", name="cid")
    [case, *_] = study_cases(session, study)
    image = case.series[0].images[0]
    assert other.get("/synthetics").status_code == 200
    assert other.get(f"/images/{image.id}/preview.png").status_code == 200


def test_an_enrolment_in_a_study_that_is_not_open_closes_nothing(app, session, signed_in_as):
    app.state.inference = studies.NoNetworks()
    studies.make_study(session, studies.make_user(session, "ada"), opened=False)
    session.commit()
    assert signed_in_as("reader", name="ada").get("/synthetics").status_code == 200


def test_a_token_of_the_reader_draws_nothing_whatever_its_name(app, client, session, study):
    ada = studies.make_user(session, "ada")
    secrets = {
        "laptop": ApiToken.add(session, "laptop", "reader", owner=ada),
        "ada": ApiToken.add(session, "ada", "machine"),  # a machine of that name is not her
    }
    session.commit()
    order_ = {"checkpoint": f"{studies.SOURCE_WORD}-phantom-cyst", "count": 1, "seed": 1}

    def draw(name: str):
        bearer = {"authorization": f"Bearer {secrets[name]}"}
        return client.post("/api/v1/synthetics", json=order_, headers=bearer)

    refused = draw("laptop")
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    shared = draw("ada")  # nobody knows who holds it
    assert shared.status_code == 403
    assert "belongs to nobody" in shared.json()["detail"]
    actors = session.scalars(
        sa.select(Event.actor).where(Event.kind.like("synthetics refused%")).order_by(Event.at)
    ).all()
    assert actors == ["token laptop of ada", "token ada"]
    study.unblind(session, study.owner, reason="enough was read", typed="UNBLIND")
    session.commit()
    assert draw("ada").status_code == 200


# -- the network as an oracle ----------------------------------------------------------------------


def png(grey) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(stream, "PNG")
    return stream.getvalue()


def tampered(data: bytes) -> list[bytes]:
    """What a cheat makes of a picture: itself, mirrored and pale, cropped and larger, padded."""
    grey = np.asarray(Image.open(io.BytesIO(data)))
    framed = np.full((80, 80), 128, np.uint8)
    framed[8:72, 8:72] = grey
    small = np.asarray(Image.fromarray(grey[5:59, 5:59]).resize((64, 64), Image.Resampling.BICUBIC))
    padded = np.asarray(Image.fromarray(framed).resize((64, 64), Image.Resampling.BICUBIC))
    return [data, png((grey[:, ::-1] * 0.7 + 40).astype(np.uint8)), png(small), png(padded)]


def test_nobody_has_a_picture_of_an_open_study_scored_and_a_reader_nothing_at_all(
    app, client, session, study
):
    ada = studies.make_user(session, "ada")
    secrets = {
        "hers": ApiToken.add(session, "laptop", "machine", owner=ada),
        "shared": ApiToken.add(session, "pacs", "machine"),
        "maker's": ApiToken.add(session, "desk", "machine", owner=study.owner),
    }
    real, synthetic = (
        next(one for one in Stimulus.of_study(session, study.id) if one.truth == source)
        for source in ("real", "synthetic")
    )
    pictures = [Blob.read(session, one.pixels_digest) for one in (real, synthetic)]
    other = make_png(seed=77)
    session.commit()

    def score(whose: str, data: bytes):
        bearer = {"authorization": f"Bearer {secrets[whose]}"}
        form = {"image": ("roi.png", data, "image/png")}
        return client.post("/api/v1/classifications", files=form, headers=bearer)

    refusals = set()
    for picture in pictures:
        for data in tampered(picture):
            for whose in ("shared", "maker's"):
                reply = score(whose, data)
                assert reply.status_code == 403, (whose, reply.text)
                refusals.add(reply.json()["detail"])
    assert len(refusals) == 1  # real and synthetic are refused in the same words
    assert score("shared", other).status_code == 200
    assert score("hers", other).status_code == 403
    kinds = sa.select(Event.kind).where(Event.kind.like("scoring refused%")).distinct()
    assert set(session.scalars(kinds)) == {
        "scoring refused to a blinded reader", "scoring refused of a picture being read",
    }  # fmt: skip
    study.unblind(session, study.owner, reason="enough was read", typed="UNBLIND")
    session.commit()
    app.state.watch._ask_at = 0.0
    assert {score(whose, pictures[0]).status_code for whose in secrets} == {200}


def test_what_is_marked_by_a_reader_or_on_a_picture_of_the_study_has_no_score(
    app, session, study, signed_in_as
):
    stimulus = next(one for one in Stimulus.of_study(session, study.id) if one.truth == "real")
    picture = Blob.read(session, stimulus.pixels_digest)
    source = session.get(Lesion, stimulus.lesion_id)
    for name, data, scored in (
        ("ada", make_png(seed=78), 0),
        ("cid", picture, 0),
        ("cid", make_png(seed=79), 1),
    ):
        browser = signed_in_as("reader", name=name)
        upload = browser.post(
            "/cases",
            files={"files": ("picture.png", data)},
            data={"pseudonym": f"{name}{scored}", "contrast_phase": "portal"},
            headers=JSON,
        )
        [case_id] = {one["case_id"] for one in upload.json()["accepted"]}
        [image] = session.get(Case, uuid.UUID(case_id)).series[0].images
        box = {"x": 0, "y": 0, "width": 64, "height": 64}
        assert browser.post(f"/images/{image.id}/lesions", data=box).status_code == 303
        marked = session.scalars(sa.select(Lesion.id).where(Lesion.image_id == image.id)).one()
        assert len(Prediction.of_lesion(session, marked)) == scored, (name, scored)
    box = {"x": source.x + 1, "y": source.y, "width": source.width, "height": source.height}
    colleague = signed_in_as("reader", name="cid")  # the source itself is there for all who do
    assert colleague.post(f"/images/{source.image_id}/lesions", data=box).status_code == 303
    newest = sa.select(Lesion.id).where(Lesion.image_id == source.image_id, Lesion.number == 2)
    assert len(Prediction.of_lesion(session, session.scalars(newest).one())) == 1


def test_the_cases_in_the_study_are_closed_in_every_way(session, study, enrolment, ada):
    case = study_cases(session, study)[0]
    image = case.series[0].images[0]
    lesion = session.scalars(sa.select(Lesion).where(Lesion.case_id == case.id)).one()
    looks = [
        f"/cases/{case.id}",
        f"/images/{image.id}/pixels",
        f"/images/{image.id}/preview.png",
        f"/lesions/{lesion.id}",
        f"/lesions/{lesion.id}/roi.png",
        f"/lesions/{lesion.id}/stability?checkpoint=phantom-cnn",
        f"/lesions/{lesion.id}/saliency?checkpoint=phantom-cnn",
        f"/lesions/{lesion.id}/saliency.png?checkpoint=phantom-cnn",
    ]
    writes = {
        f"/images/{image.id}/lesions": {"x": 9, "y": 9, "width": 20, "height": 20},
        f"/lesions/{lesion.id}/reviews": {
            "lesion_class": "cyst",
            "confidence": 3,
            "basis": "imaging",
        },
        f"/lesions/{lesion.id}/withdrawal": {},
        f"/lesions/{lesion.id}/measures": {
            "measure": str(uuid.uuid4()),
            "image": str(image.id),
            "kind": "length",
            "points": "9,9 20,9",
        },
        f"/cases/{case.id}/deletion": {"typed": case.pseudonym},
    }
    for address in looks:
        assert ada.get(address).status_code == 403, address
    for address, body in writes.items():
        assert ada.post(address, data=body).status_code == 403, address
    refused = session.scalars(
        sa.select(Event.actor).where(Event.kind == "case refused to a blinded reader")
    ).all()
    assert refused == ["ada"] * (len(looks) + len(writes))
    finish(ada, session, enrolment)
    assert ada.get(f"/lesions/{lesion.id}/roi.png").status_code == 200


def test_cases_outside_the_study_stay_open(session, study, ada):
    [lesion] = studies.make_lesion(session, 999)
    session.commit()
    assert ada.get(f"/lesions/{lesion.id}/roi.png").status_code == 200


def lines_of(page: str) -> dict[str, str]:
    """Pseudonym → its line of the work list, without what differs for any two cases."""
    found = {}
    for line in re.findall(r"<tr>.*?</tr>", page.partition("<tbody>")[2], re.DOTALL):
        [name] = re.findall(rf"{studies.PATIENT_WORD}-\d+|P-\w+", line)[:1]
        found[name] = re.sub(r"[0-9a-f-]{36}|\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", line).replace(
            name, ""
        )
    return found


def test_what_is_closed_tells_neither_which_nor_how_many_cases_are_in_the_study(
    session, study, enrolment, ada
):
    """Of two more lesions that could have been in it, one has a class and one awaits its review."""
    opened = study.protocol.frozen_at
    others = [studies.make_lesion(session, 500 + number)[0] for number in range(2)]
    studies.review(session, others[0], "cyst")
    for lesion in others:
        lesion.created_at = opened - timedelta(seconds=5)
    session.commit()
    in_it = study_cases(session, study)
    not_in_it = [session.get(Case, lesion.case_id) for lesion in others]
    page = ada.get("/cases").text
    lines = lines_of(page)
    assert len(lines) == len(in_it) + len(not_in_it)
    assert len(set(lines.values())) == 1
    assert "closed until the reading is finished" in page
    for name in ("mine", "awaiting", "reviewed", "no_lesion"):
        assert lines_of(ada.get(f"/cases?filter={name}").text) == {}
    assert re.findall(r'chip__count">(\d+)<', page) == [str(len(lines))]
    replies = {case: ada.get(f"/cases/{case.id}") for case in (*in_it, *not_in_it)}
    answers = {
        reply.text.replace(str(case.id), "").replace(reply.headers[NUMBER], "")
        for case, reply in replies.items()
    }
    assert len(answers) == 1  # every address answers alike, with the way on
    assert 'href="/readings">To my readings' in answers.pop()
    finish(ada, session, enrolment)
    page = ada.get("/cases").text
    assert "closed until" not in page
    assert ada.get(f"/cases/{in_it[0].id}").status_code == 200


def test_cases_that_could_not_be_in_it_stay_open(session, study, ada):
    opened = study.protocol.frozen_at
    [other_kind] = studies.make_lesion(session, 700, phantom=False)
    other_kind.created_at = opened - timedelta(days=1)
    [later] = studies.make_lesion(session, 701)
    session.commit()
    for lesion in (other_kind, later):
        assert ada.get(f"/cases/{lesion.case_id}").status_code == 200


def test_the_work_list_shows_no_prediction_of_cases_in_the_study(session, study, enrolment, ada):
    from app.models import Prediction

    lesion = next(one.lesion for one in Stimulus.of_study(session, study.id) if one.lesion)
    scorer = Checkpoint(
        name="scorer",
        kind="classifier",
        training_kind="phantom",
        dataset_digest="0" * 64,
        meta={"scheme": _odd_scheme().to_dict(), "window_hu": [-150, 250], "metrics": {}},
        card="",
        onnx_digest=_digest(session),
        weights_digest=_digest(session),
    )
    session.add(scorer)
    session.flush()
    Prediction.record(session, lesion, scorer, Said({"oddclass": 0.9, "evenclass": 0.1}), [])
    reviewer = enrolment.reader
    studies.review(session, lesion, "cyst", by=reviewer)  # so that the score is not covered
    session.commit()
    assert "oddclass" not in ada.get("/cases").text
    finish(ada, session, enrolment)
    assert "oddclass" in ada.get("/cases").text


def _odd_scheme() -> LesionScheme:
    return LesionScheme(
        "odd", (LesionClass("oddclass", "oddclass"), LesionClass("evenclass", "evenclass"))
    )


def _digest(session) -> str:
    return session.scalars(
        sa.select(Checkpoint.onnx_digest).where(Checkpoint.name.contains(studies.SOURCE_WORD))
    ).first()


def test_ids_in_the_desks_addresses_are_random(session, enrolment):
    assert len(enrolment.token) == 32  # 24 random bytes
    assert len({trial.token for trial in order(session, enrolment)}) == 12
