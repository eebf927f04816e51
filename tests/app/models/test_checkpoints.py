"""What is served deserves it, and says what stands behind it."""

from __future__ import annotations

import html
from typing import Any

import pytest
import sqlalchemy as sa

from app.models import Blob, Checkpoint, Event
from app.models.checkpoint import SERVE_WORD
from factories import make_dicom, make_png
from ml import config
from ml.lesion import LesionClass, LesionScheme

KEYS = ("cyst", "metastasis", "hemangioma")
PROVES_NOTHING = "quick run: shows that everything works, proves nothing"


def test_a_description_is_read_once_however_many_ask(database):
    told = []
    for _ in range(2):
        with database.reading() as session:
            told.append(session.scalars(sa.select(Checkpoint).order_by(Checkpoint.name)).first())
    assert told[0] is not told[1]
    assert (told[0].meta is told[1].meta) == (database.engine.dialect.name == "sqlite")


def score_of(*right: int, low: float = 1.0, high: float = 1.0) -> dict[str, Any]:
    """A stored score: so many lesions of each class, every one named rightly."""
    interval = {"value": 1.0, "low": low, "high": high}
    each = dict.fromkeys((*KEYS, "macro", "weighted"), interval)
    return {
        "n_lesions": sum(right),
        "n_patients": sum(right),
        "classes": list(KEYS),
        "confusion": [[n if i == k else 0 for k in range(3)] for i, n in enumerate(right)],
        "accuracy": interval,
        "balanced_accuracy": interval,
        "sensitivity": each,
        "specificity": each,
        "auc": dict.fromkeys((*KEYS, "macro"), interval),
        "interval": "95 % percentile bootstrap over patients",
    }


def checkpoint(session, name="run-0-classic", *, preset="compact", test=None, **meta) -> Checkpoint:
    """A checkpoint that waits to be served, with the network of the shipped one."""
    first = Checkpoint.require(session, "phantom-cnn")
    onnx = first.onnx(session) + b"\x32" + bytes([len(name)]) + name.encode()
    described = {
        **first.meta,
        "name": name,
        "preset": preset,
        "metrics": {"test": test, "training": {"n_lesions": 6, "n_patients": 5}, "notes": []},
        **meta,
    }
    row = Checkpoint(
        name=name,
        kind=first.kind,
        training_kind=first.training_kind,
        dataset_digest=first.dataset_digest,
        meta=described,
        card="# as it was written then: 100.0 % (100.0–100.0)",
        onnx_digest=Blob.store(session, onnx, "application/onnx"),
        weights_digest=first.weights_digest,
        trust_digest=first.trust_digest,
    )
    session.add(row)
    session.commit()
    return row


@pytest.fixture
def admin(signed_in_as):
    return signed_in_as("admin")


def served(session, name) -> bool:
    session.expire_all()
    return Checkpoint.require(session, name).served_since is not None


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"preset": "quick", "test": score_of(20, 20, 20)}, PROVES_NOTHING),
        ({"test": score_of(10, 10, 9)}, "tested on 29 held-out lesions"),
        ({"test": None}, "nothing was held out"),
    ],
)
def test_what_proves_nothing_is_not_served_by_a_click(admin, session, made, said):
    row = checkpoint(session, **made)
    address = f"/checkpoints/{row.name}/promotion"
    refused = admin.post(address)
    assert refused.status_code == 422
    assert said in refused.text
    assert admin.post(address, data={"typed": "yes"}).status_code == 422
    assert not served(session, row.name)
    assert Checkpoint.classifier(session).name == "phantom-cnn"

    assert admin.post(address, data={"typed": SERVE_WORD}).status_code == 303
    assert Checkpoint.classifier(session).name == row.name
    [event] = session.scalars(sa.select(Event).where(Event.kind == "checkpoint promoted"))
    assert said in event.detail["caveats"][0]


def test_a_reader_serves_nothing(signed_in_as, session):
    row = checkpoint(session, test=score_of(20, 20, 20))
    reader = signed_in_as("reader")
    for method in ("get", "post"):
        assert getattr(reader, method)(f"/checkpoints/{row.name}/promotion").status_code == 403


def test_who_may_not_serve_it_is_told_so_before_pressing_anything(signed_in_as, session):
    """It came from outside: a researcher owns its run as little as anybody."""
    row = checkpoint(session, preset="quick", test=score_of(20, 20, 20))
    researcher = signed_in_as("researcher")
    page = researcher.get(f"/checkpoints/{row.name}/promotion")
    assert page.status_code == 200
    assert "only an administrator can say whether it is served" in page.text
    main = page.text.partition("<main")[2]
    assert '<form method="post"' not in main
    assert SERVE_WORD not in main
    refused = researcher.post(f"/checkpoints/{row.name}/promotion", data={"typed": SERVE_WORD})
    assert refused.status_code == 403
    assert not served(session, row.name)


def test_one_that_was_tested_is_served_by_one_press_on_a_page_that_says_what_it_replaces(
    admin, session
):
    row = checkpoint(session, test=score_of(20, 20, 20, low=0.9, high=1.0))
    page = html.unescape(admin.get(f"/checkpoints/{row.name}/promotion").text)
    for words in (
        "From now on: run-0-classic", "Until now: phantom-cnn", "compact", "shipped",
        "6 lesions of 5 patients", "182 lesions of 96 patients",
        "balanced accuracy 100 % (90 to 100 %) on 60 lesions of 60 held-out phantom patients",
        "balanced accuracy 79 % (73 to 84 %) on 182 lesions of 96 phantom patients, each by ",
        "Every lesion that anybody marks from then on is scored by run-0-classic",
    ):  # fmt: skip
        assert words in page
    assert "Type" not in page
    assert "among other classes" not in page
    assert admin.post(f"/checkpoints/{row.name}/promotion").status_code == 303
    again = admin.get(f"/checkpoints/{row.name}/promotion").text
    assert "It is served already" in again
    assert "/promotion" not in admin.get(f"/checkpoints/{row.name}").text


def test_the_page_says_that_readers_will_choose_among_other_classes(admin, session):
    scheme = LesionScheme("other", (LesionClass("a", "alpha"), LesionClass("b", "beta")))
    row = checkpoint(session, test=None, scheme=scheme.to_dict())
    page = admin.get(f"/checkpoints/{row.name}/promotion").text
    assert "among other classes: alpha, beta instead of cyst, metastasis, hemangioma" in page


def test_what_scores_instead_is_said_when_one_is_served_no_longer(admin, session):
    row = checkpoint(session, test=score_of(20, 20, 20))
    admin.post(f"/checkpoints/{row.name}/promotion")
    admin.post(f"/checkpoints/{row.name}/retirement")
    assert "New lesions are scored by phantom-cnn" in admin.get("/checkpoints").text


def test_retiring_one_does_not_serve_another_that_nobody_was_asked_about(admin, session):
    weak = checkpoint(session, preset="quick", test=score_of(2, 1, 1))
    good = checkpoint(session, "run-1-classic", test=score_of(20, 20, 20))
    admin.post(f"/checkpoints/{weak.name}/promotion", data={"typed": SERVE_WORD})
    admin.post(f"/checkpoints/{good.name}/promotion")
    refused = admin.post(f"/checkpoints/{good.name}/retirement")
    assert refused.status_code == 409
    page = html.unescape(refused.text)
    assert f"its work would fall to {weak.name}" in page
    assert PROVES_NOTHING in page
    assert f'href="/checkpoints/{weak.name}/promotion"' in page
    assert Checkpoint.classifier(session).name == good.name

    assert admin.post(f"/checkpoints/{weak.name}/retirement").status_code == 303
    assert admin.post(f"/checkpoints/{good.name}/retirement").status_code == 303
    assert Checkpoint.classifier(session).name == "phantom-cnn"


def test_what_is_not_at_work_is_retired_whatever_else_is_served(admin, session):
    weak = checkpoint(session, preset="quick", test=score_of(2, 1, 1))
    good = checkpoint(session, "run-1-classic", test=score_of(20, 20, 20))
    admin.post(f"/checkpoints/{good.name}/promotion")
    admin.post(f"/checkpoints/{weak.name}/promotion", data={"typed": SERVE_WORD})
    assert admin.post(f"/checkpoints/{good.name}/retirement").status_code == 303
    assert Checkpoint.classifier(session).name == weak.name


def test_every_score_says_what_stands_behind_it(app, client, admin, session, token):
    row = checkpoint(session, preset="quick", test=score_of(2, 1, 1))
    admin.post(f"/checkpoints/{row.name}/promotion", data={"typed": SERVE_WORD})
    limits = (
        "Quick run: shows that everything works, proves nothing. Trained on simulated CT "
        "(phantoms), 6 lesions of 5 patients, preset quick; mean of 3 networks of 3 folds; "
        "balanced accuracy 100 % (29 to 100 %) on 4 lesions of 4 held-out phantom patients. "
        "Calibrated on 182 lesions of 96 patients, out of fold."
    )
    bearer = {"authorization": f"Bearer {token}"}
    info = client.get("/api/v1/info", headers=bearer).json()["classifiers"][-1]
    assert (info["preset"], info["limits"]) == ("quick", limits)
    assert info["training"] == {"n_lesions": 6, "n_patients": 5}
    assert PROVES_NOTHING in info["warnings"]
    reply = client.post(
        "/api/v1/classifications", files={"image": ("roi.png", make_png())}, headers=bearer
    ).json()
    # a picture without HU is none that it was calibrated on
    plain = limits.partition(" Calibrated on ")[0]
    told = f"{plain} The score is not calibrated for this kind of image."
    assert (reply["checkpoint"], reply["limits"]) == (row.name, told)
    phantom = client.post(
        "/api/v1/classifications",
        files={"image": ("ct.dcm", make_dicom(phantom=True))},
        data={"box": "44,44,40,40"},
        headers=bearer,
    ).json()
    assert (phantom["calibrated"], phantom["limits"]) == (True, limits)
    assert PROVES_NOTHING in reply["warnings"]
    assert any("4 held-out lesions" in text for text in reply["warnings"])
    for address in ("/checkpoints", f"/checkpoints/{row.name}"):
        page = html.unescape(admin.get(address).text)
        assert limits in page
        assert "quick run</span>" in page


def test_a_figure_that_was_stored_without_width_is_never_shown_so(client, admin, session, token):
    row = checkpoint(session, test=score_of(2, 1, 1))
    page = admin.get(f"/checkpoints/{row.name}").text
    assert "100.0–100.0" not in page
    assert "100 to 100" not in page
    assert "Balanced accuracy 100.0 % (29.2–100.0)" in page
    admin.post(f"/checkpoints/{row.name}/promotion", data={"typed": SERVE_WORD})
    info = client.get("/api/v1/info", headers={"authorization": f"Bearer {token}"}).json()
    told = info["classifiers"][-1]["metrics"]["test"]
    for entry in (told["accuracy"], *told["sensitivity"].values(), *told["auc"].values()):
        assert entry["low"] < entry["high"]


def test_a_generator_of_a_quick_run_needs_the_word_too(client, admin, session, token):
    shipped = Checkpoint.require(session, "phantom-diffusion-cyst")
    row = Checkpoint(
        name="run-0-dcgan-cyst", kind="generator", lesion_class="cyst",
        training_kind="phantom", dataset_digest=shipped.dataset_digest,
        meta={**shipped.meta, "name": "run-0-dcgan-cyst", "preset": "quick"}, card="",
        onnx_digest=shipped.onnx_digest, weights_digest=shipped.weights_digest,
    )  # fmt: skip
    session.add(row)
    session.commit()
    page = admin.get(f"/checkpoints/{row.name}/promotion").text
    assert "Until now: phantom-diffusion-cyst" in page
    assert admin.post(f"/checkpoints/{row.name}/promotion").status_code == 422
    assert not served(session, row.name)
    drawn = client.post(
        "/api/v1/synthetics",
        json={"checkpoint": row.name},
        headers={"authorization": f"Bearer {token}"},
    )
    assert PROVES_NOTHING in drawn.json()["warnings"]


def test_a_preset_is_known_by_its_settings_where_its_name_was_not_kept():
    for name, preset in config.EXPERIMENTS.items():
        told = preset.override(["seed=4"]).dump()
        assert config.preset_of(told) == name
        del told["classifier"]["precision"]  # of a version that had no such setting
        assert config.preset_of(told) == name
        told["least_steps"] = 12345
        assert config.preset_of(told) == ""


def test_a_retirement_pressed_twice_is_one_event_and_no_refusal(admin, session):
    row = checkpoint(session, test=score_of(20, 20, 20))
    admin.post(f"/checkpoints/{row.name}/promotion")
    for _ in range(2):
        assert admin.post(f"/checkpoints/{row.name}/retirement").status_code == 303
    told = session.scalars(sa.select(Event).where(Event.kind == "checkpoint retired")).all()
    assert len(told) == 1
