"""Synthetic ROIs in the browser and over the API: deterministic per seed."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

import kept_lesions
import studies
from app.models import Checkpoint, DatasetVersion, Look, User
from app.models.reader_studies.design import Design
from app.models.reader_studies.look import Shown
from ml.checkpoints import saving
from ml.checkpoints.checkpoint import WEIGHTS
from ml.checkpoints.checkpoint import Checkpoint as File
from ml.checkpoints.metrics import GeneratorMetrics
from ml.images.ct_slice import ImageKind
from ml.lesion import LIVER
from stow import parsed

GENERATOR = "phantom-diffusion-cyst"
OLD_GAN = Path(__file__).parents[2] / "golden/checkpoints/old-dcgan"


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    return client


def test_image_n_depends_on_seed_n_alone(api):
    def images(**order):
        answer = api.post("/api/v1/synthetics", json={"checkpoint": GENERATOR, **order}).json()
        return {image["seed"]: image["data"] for image in answer["images"]}

    many, few = images(seed=3, count=7), images(seed=7, count=2)
    assert few[7] == many[7]
    assert few[8] == many[8]
    assert len(set(many.values())) == 7


def test_the_browser_and_the_api_draw_the_same(api, signed_in_as):
    browser = signed_in_as("reader")
    order = {"checkpoint": GENERATOR, "seed": 5}
    answer = api.post("/api/v1/synthetics", json=order).json()
    png = base64.b64decode(answer["images"][0]["data"])
    assert browser.get(f"/synthetics/{GENERATOR}/5.png").content == png


def test_floats_are_within_one(api):
    order = {"lesion_class": "hemangioma", "count": 4, "format": "float32"}
    answer = api.post("/api/v1/synthetics", json=order).json()
    assert answer["lesion_class"] == "hemangioma"
    assert "synthetic" in answer["warnings"][0]
    for image in answer["images"]:
        roi = np.frombuffer(base64.b64decode(image["data"]), "<f4")
        assert roi.shape == (64 * 64,)
        assert np.abs(roi).max() <= 1
        assert roi.std() > 0.01


@pytest.mark.parametrize(
    "order",
    [
        {"count": 0},
        {"count": 5000},
        {"seed": -1},
        {"seed": 2**70},
        {"format": "bmp"},
        {"checkpoint": "nobody"},
        {"lesion_class": "wart"},
        {"checkpoint": "phantom-cnn"},
    ],
)
def test_an_impossible_order_is_refused(order, api):
    reply = api.post("/api/v1/synthetics", json=order)
    assert reply.status_code in (404, 422)
    assert reply.headers["content-type"] == "application/problem+json"


def test_the_sheet_the_zip_and_the_npz_hold_the_same_pictures(signed_in_as):
    browser = signed_in_as("reader")
    query = "seed=11&count=3"
    sheet = browser.get(f"/synthetics/{GENERATOR}/sheet?{query}").content
    grey = np.frombuffer(sheet, np.uint8).reshape(3, 64, 64)
    path = f"/synthetics/{GENERATOR}/download?{query}"
    arrays = np.load(io.BytesIO(browser.get(f"{path}&format=npz").content))
    assert np.array_equal(np.rint((arrays["rois"] + 1) * 127.5).astype(np.uint8), grey)
    assert arrays["seeds"].tolist() == [11, 12, 13]
    archive = zipfile.ZipFile(io.BytesIO(browser.get(f"{path}&format=zip").content))
    about = json.loads(archive.read("about.json"))
    assert about["synthetic"] is True
    assert about["seeds"] == [11, 12, 13]
    assert len(archive.namelist()) == 4
    assert browser.get(f"{path}&format=exe").status_code == 422


def test_the_page_names_what_draws_and_on_what_it_was_trained(signed_in_as):
    page = signed_in_as("reader").get(f"/synthetics?checkpoint={GENERATOR}&count=6&seed=2").text
    assert "trained on phantom" in page
    assert f"/synthetics/{GENERATOR}/7.png" in page  # for browsers without scripts
    assert signed_in_as("reader").get("/synthetics?checkpoint=nobody").status_code == 404
    assert signed_in_as("reader").get("/synthetics?count=0").status_code == 422


def said_in(png: bytes) -> dict[str, str]:
    return Image.open(io.BytesIO(png)).text


def test_dicom_and_png_say_that_they_are_synthetic_and_what_drew_them(api, signed_in_as, session):
    browser = signed_in_as("reader")
    row = Checkpoint.require(session, GENERATOR)
    order = {"checkpoint": GENERATOR, "seed": 11, "format": "dicom"}
    [answer] = api.post("/api/v1/synthetics", json=order).json()["images"]
    data = base64.b64decode(answer["data"])
    query = f"/synthetics/{GENERATOR}/download?seed=11&count=2&format"
    archive = zipfile.ZipFile(io.BytesIO(browser.get(f"{query}=dicom").content))
    names = [name for name in archive.namelist() if name.endswith(".dcm")]
    first, second = (archive.read(name) for name in names)
    assert first == data  # asked for again it is the same to the bit
    found, other = parsed(first), parsed(second)
    assert found.SyntheticData == "YES" and list(found.ImageType) == ["DERIVED", "SECONDARY"]
    [equipment] = found.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    for word in (GENERATOR, row.onnx_digest, "class cyst", "seed 11", "simulated CT"):
        assert word in found.DerivationDescription, word
    assert found.SeriesInstanceUID == other.SeriesInstanceUID
    assert found.SOPInstanceUID != other.SOPInstanceUID
    png = browser.get(f"/synthetics/{GENERATOR}/11.png").content
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), found.pixel_array)
    told = said_in(png)
    assert told["SyntheticData"] == "YES" and told["Description"] == found.DerivationDescription
    zipped = zipfile.ZipFile(io.BytesIO(browser.get(f"{query}=zip").content))
    assert said_in(zipped.read("synthetic_cyst_000011.png")) == told


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy (dicom3tools) here")
def test_a_validator_finds_no_error_in_a_synthetic_image(api, tmp_path):
    order = {"checkpoint": GENERATOR, "seed": 3, "format": "dicom"}
    [answer] = api.post("/api/v1/synthetics", json=order).json()["images"]
    (tmp_path / "it.dcm").write_bytes(base64.b64decode(answer["data"]))
    done = subprocess.run(["dciodvfy", tmp_path / "it.dcm"], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    # the validator is older than the attribute that says that data are synthetic
    assert [line for line in errors if "0x0008,0x001c" not in line] == []


def test_who_reads_blind_gets_none_and_pictures_of_a_study_bear_no_mark(app, signed_in_as, session):
    browser, desk, _ = studies.desk_of_ada(app, session, signed_in_as, Design())
    for form in ("dicom", "zip"):
        path = f"/synthetics/{GENERATOR}/download?seed=1&count=1&format={form}"
        assert browser.get(path).status_code == 403
    page = browser.get(desk).text
    [token] = set(re.findall(r"/pixels/([\w-]+)", page))
    picture = browser.get(f"/pixels/{token}").content
    assert b"ynthetic" not in picture and b"DICM" not in picture


# -- truncation ------------------------------------------------------------------------------------


def test_truncation_scales_the_latent_and_is_told_by_whatever_bears_the_picture(api, signed_in_as):
    browser = signed_in_as("reader")

    def drawn(truncation, seed=0, count=4):
        order = {"checkpoint": GENERATOR, "seed": seed, "count": count, "format": "float32"}
        answer = api.post("/api/v1/synthetics", json={**order, "truncation": truncation}).json()
        assert answer["truncation"] == truncation
        return np.stack(
            [np.frombuffer(base64.b64decode(one["data"]), "<f4") for one in answer["images"]]
        )

    whole, half, tenth = drawn(1.0), drawn(0.5), drawn(0.1)
    assert np.array_equal(drawn(0.5, seed=2, count=1)[0], half[2])  # of its seed alone
    spread = [float(one.std(axis=0).mean()) for one in (whole, half, tenth)]
    assert spread[0] > spread[1] > spread[2]

    address = f"/synthetics/{GENERATOR}"
    plain, scaled = (browser.get(f"{address}/7.png{more}") for more in ("", "?truncation=0.5"))
    assert plain.content != scaled.content and plain.headers["etag"] != scaled.headers["etag"]
    assert "Truncation" not in said_in(plain.content)
    assert said_in(scaled.content)["Truncation"] == "0.5"
    assert "latent scaled by 0.5" in said_in(scaled.content)["Description"]
    query = "seed=7&count=1&truncation"
    sheets = [browser.get(f"{address}/sheet?{query}={one}") for one in (1, 0.5)]
    assert sheets[0].content != sheets[1].content
    assert np.asarray(Image.open(io.BytesIO(scaled.content))).tobytes() == sheets[1].content
    found = []
    for one in (1, 0.5):
        archive = browser.get(f"{address}/download?{query}={one}&format=dicom").content
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert json.loads(opened.read("about.json"))["truncation"] == one
            [name] = [name for name in opened.namelist() if name.endswith(".dcm")]
            found.append(parsed(opened.read(name)))
    assert found[0].SOPInstanceUID != found[1].SOPInstanceUID  # another picture, another object
    assert "truncation0.5" in name


@pytest.mark.parametrize("truncation", ["0", "1.01", "-0.5", "nan", "0.333", "much"])
def test_a_truncation_that_cannot_be_is_refused(truncation, signed_in_as, api):
    browser = signed_in_as("reader")
    for path in (
        "?", f"/{GENERATOR}/1.png?", f"/{GENERATOR}/1?", f"/{GENERATOR}/sheet?seed=0&count=1&",
        f"/{GENERATOR}/download?seed=0&count=1&",
    ):  # fmt: skip
        reply = browser.get(f"/synthetics{path}truncation={truncation}")
        assert reply.status_code == 422, path
    if truncation not in ("nan", "much"):
        order = {"checkpoint": GENERATOR, "truncation": float(truncation)}
        reply = api.post("/api/v1/synthetics", json=order)
        assert reply.status_code == 422 and "hundredths" in reply.json()["detail"]


# -- chosen one by one -----------------------------------------------------------------------------


def test_the_chosen_are_downloaded_alone_and_written_down_as_seen(signed_in_as, session):
    browser = signed_in_as("reader", name="ada")
    path = f"/synthetics/{GENERATOR}/download?seed=0&count=24&chosen=70&chosen=3&chosen=70"
    with zipfile.ZipFile(io.BytesIO(browser.get(f"{path}&format=zip").content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert json.loads(archive.read("about.json"))["seeds"] == [3, 70]
        assert names == ["synthetic_cyst_000003.png", "synthetic_cyst_000070.png"]
        pictures = [archive.read(name) for name in names]
    assert pictures == [browser.get(f"/synthetics/{GENERATOR}/{n}.png").content for n in (3, 70)]
    arrays = np.load(io.BytesIO(browser.get(f"{path}&format=npz").content))
    assert arrays["seeds"].tolist() == [3, 70]
    seen = sa.select(Look.seed, Look.count).where(Look.of == Shown.SYNTHETIC).order_by(Look.seed)
    assert [tuple(row) for row in session.execute(seen)] == [(3, 1), (70, 1)]
    far = browser.get(f"/synthetics/{GENERATOR}/download?seed=0&count=1&chosen=-1")
    many = "&".join(f"chosen={n}" for n in range(201))
    for refused in (far, browser.get(f"/synthetics?{many}")):
        assert refused.status_code == 422


def test_the_page_says_what_is_chosen_and_compares_two_generators_without_a_script(signed_in_as):
    browser = signed_in_as("reader")
    other = "phantom-diffusion-metastasis"
    html = browser.get(
        f"/synthetics?checkpoint={GENERATOR}&beside={other}&count=3&seed=5&truncation=0.8&chosen=6"
        "&chosen=99"
    ).text
    assert "2 chosen: seeds 6, 99" in html
    for name in (GENERATOR, other):
        for seed in (5, 6, 7):
            assert f"/synthetics/{name}/{seed}.png?truncation=0.8" in html
    assert f'href="/synthetics/{GENERATOR}/6?truncation=0.8&amp;beside={other}"' in html
    [checked] = re.findall(r'name="chosen" value="(\d+)"[^>]* checked', html)
    [sent] = re.findall(r'type="hidden" name="chosen" value="(\d+)"', html)
    assert (checked, sent) == ("6", "99")
    refused = browser.get(f"/synthetics?checkpoint={GENERATOR}&beside=phantom-cnn")
    assert refused.status_code == 422 and "draws nothing" in refused.text


# -- beside what its generator learned from --------------------------------------------------------


def large(browser, name=GENERATOR, seed=3, more=""):
    reply = browser.get(f"/synthetics/{name}/{seed}{more}", headers={"x-fragment": "1"})
    assert reply.status_code == 200
    return reply.text


def test_a_seed_is_shown_beside_the_nearest_simulated_lesion_that_its_generator_learned_from(
    app, signed_in_as, session
):
    browser = signed_in_as("reader")
    html = large(browser)
    [picture] = re.findall(r'src="(/checkpoints/phantom-cnn/lesions/\d+\.png)"', html)
    assert "nearest of 35 training ROIs" in html and "median of 18 lesions" in html
    [distance] = map(float, re.findall(r"Distance ([\d.]+)</strong>", html))
    assert 0.2 < distance < 2
    # what is said is what the pictures show, turned as it says
    [turn] = re.findall(r"turned-(\d)", html) or ["0"]
    other = np.asarray(Image.open(io.BytesIO(browser.get(picture).content)), float)
    own = np.asarray(
        Image.open(io.BytesIO(browser.get(f"/synthetics/{GENERATOR}/3.png").content)), float
    )
    if int(turn) >= 4:
        other = other[:, ::-1]
    other = np.rot90(other, -(int(turn) % 4))  # clockwise, as the style does
    difference = float(np.sqrt(((own - other) ** 2).mean())) / 255 * 400
    [told] = map(float, re.findall(r"difference of (\d+) HU in the window of −150 to 250 HU", html))
    assert difference == pytest.approx(told, abs=0.6)
    whole = browser.get(f"/synthetics/{GENERATOR}/3").text
    assert "<h1>Seed 3</h1>" in whole and f'rel="next" href="/synthetics/{GENERATOR}/4?' in whole
    assert 'rel="prev"' not in browser.get(f"/synthetics/{GENERATOR}/0").text
    both = large(browser, more="?beside=phantom-diffusion-metastasis&truncation=0.5")
    assert both.count("Distance ") == 2 and "metastasis, seed 3, truncation 0.5" in both
    assert browser.get("/synthetics/phantom-cnn/3").status_code == 422
    assert browser.get("/synthetics/nobody/3").status_code == 404


def generator(session, folder, digest, *, name="other-dcgan-cyst", **changed) -> Checkpoint:
    """The shipped generator of cysts, as one of another data set."""
    shipped = File.load(WEIGHTS / GENERATOR)
    told = replace(shipped, name=name, dataset_digest=digest, metrics=GeneratorMetrics(), **changed)
    saving.save(told, folder, shipped.onnx(), shipped.weights())
    return Checkpoint.register(session, folder, "tests")


def test_why_nothing_stands_beside_it_is_said(session, tmp_path, signed_in_as):
    browser = signed_in_as("reader")
    generator(session, tmp_path / "alone", "a" * 64)
    session.commit()
    assert "no classifier that was trained on the same patients" in large(
        browser, "other-dcgan-cyst"
    )
    # of patients there is no picture outside the installation that holds them
    bare = kept_lesions.without_pictures(kept_lesions.lesions())
    folder = kept_lesions.saved(
        tmp_path / "real", bare, name="real-kept", kind=ImageKind.CALIBRATED, digest="b" * 64
    )
    Checkpoint.register(session, folder, "tests")
    generator(session, tmp_path / "b", "b" * 64, name="b", training_kind=ImageKind.CALIBRATED)
    # another split of the same data set is another training set
    elsewhere = {**File.load(WEIGHTS / GENERATOR).config, "seed": 7}
    digest = File.load(WEIGHTS / GENERATOR).dataset_digest
    generator(session, tmp_path / "split", digest, name="split", config=elsewhere)
    session.commit()
    html = large(browser, "b")
    assert "pictures of patients are not kept with a checkpoint, which travels" in html
    assert "/lesions/" not in html and "Distance" not in html
    assert "no classifier that was trained on the same patients" in large(browser, "split")


def test_lesions_of_this_installation_are_shown_to_whom_they_may_be_and_written_down(
    session, tmp_path, signed_in_as
):
    lesions = studies.make_known_lesions(session, 4)
    maker = User.require(session, "maker")
    archive = DatasetVersion.pack(session, "frozen", LIVER, "phantom")
    version = DatasetVersion.freeze(session, maker, archive)
    kept = kept_lesions.named(kept_lesions.lesions(), list(version.lesions(session)))
    folder = kept_lesions.saved(tmp_path / "own", kept, name="own-kept", digest=version.digest)
    Checkpoint.register(session, folder, "tests")
    generator(session, tmp_path / "dcgan", version.digest)
    session.commit()
    html = large(signed_in_as("researcher", name="maker"), "other-dcgan-cyst")
    [shown] = re.findall(r'src="/lesions/([0-9a-f-]+)/roi\.png\?checkpoint=', html)
    assert shown in {str(one.id) for one in lesions}
    assert "as the data set frozen has it" in html
    assert "A root mean square difference of" in html and "Distance" not in html  # none held out
    looks = sa.select(Look.subject_id).where(Look.of == Shown.LESION, Look.user_id == maker.id)
    assert [str(one) for one in session.scalars(looks)] == [shown]
    # who has given no class of theirs yet learns how near it is, and not whose or what it is
    covered = large(signed_in_as("reader", name="ben"), "other-dcgan-cyst")
    assert "roi.png" not in covered and "The lesion itself is not shown to you." in covered
    assert "yours comes first" in covered and "root mean square difference" in covered


def test_who_reads_blind_sees_no_seed_large(app, signed_in_as, session):
    browser, _, _ = studies.desk_of_ada(app, session, signed_in_as, Design())
    for path in ("", f"/{GENERATOR}/3", f"/{GENERATOR}/3.png"):
        assert browser.get(f"/synthetics{path}").status_code == 403


def test_a_diffusion_model_is_served_alike_and_asked_for_fewer_at_a_time(
    api, session, signed_in_as, tmp_path
):
    import torch

    from ml.checkpoints.sampler import Sampler
    from ml.training import runtime
    from ml.training.networks import edm, export

    studies.make_study(session, opened=False)
    torch.manual_seed(0)
    network = edm.Denoiser(3, 4, 0.5)
    network.leave.weight.data += 0.05  # which begins as zero
    tensors = runtime.arrays(network)
    made = File(
        name="diffusion-cyst", kind="generator", scheme=LIVER, lesion_class="cyst",
        window_hu=(-150.0, 250.0), training_kind="phantom", dataset_digest="d", commit="c",
        config={}, metrics=GeneratorMetrics(), latent_size=4096, network="diffusion",
        sampler=Sampler(20, 0.002, 80, 7),
    )  # fmt: skip
    saving.save(made, tmp_path, export.denoiser(tensors, 0, 0.5), tensors)
    Checkpoint.register(session, tmp_path, "tests")
    session.commit()

    order = {"checkpoint": "diffusion-cyst", "seed": 3}
    images = api.post("/api/v1/synthetics", json={**order, "count": 2}).json()["images"]
    browser = signed_in_as("reader")
    png = browser.get("/synthetics/diffusion-cyst/4.png").content
    assert base64.b64decode(images[1]["data"]) == png  # seed 4, whatever was drawn before it
    assert len(browser.get("/synthetics/diffusion-cyst/sheet?seed=3&count=2").content) == 2 * 64**2

    told = "computes its network 39 times for an image: choose at most"
    refused = api.post("/api/v1/synthetics", json={**order, "count": 7})
    assert refused.status_code == 422 and f"{told} 6 at a time, not 7." in refused.text
    for path in ("?count=27&", "/diffusion-cyst/download?count=27&seed=0&"):
        answer = browser.get(f"/synthetics{path}checkpoint=diffusion-cyst")
        assert answer.status_code == 422 and f"{told} 26 at a time, not 27." in answer.text
    html = browser.get("/synthetics?checkpoint=diffusion-cyst&count=5").text
    assert 'data-evaluations="39"' in html and 'max="26"' in html
    assert "How long the rest takes is told while they are drawn" in html
    Checkpoint.register(session, OLD_GAN, "tests")
    session.commit()
    plain = browser.get("/synthetics?checkpoint=old-dcgan").text
    assert re.search(r"data-slow hidden", plain) and 'max="1024"' in plain

    # a study's images are drawn once, and the page says how long its opening takes
    study = studies.compose(
        session, User.require(session, "maker"), title="slow", scheme=LIVER, real=6, synthetic=6,
        seed=8, design=Design(), draw=studies.draw,
    )  # fmt: skip
    session.commit()
    slow = study.drawings(session)
    assert {row.name for row in slow} >= {"diffusion-cyst"} and sum(slow.values()) == 6
    page = signed_in_as("researcher", name="maker").get(f"/reader-studies/{study.id}").text
    assert re.search(r'data-busy="Rendering and auditing 12 images, about \d+ s"', page)
