"""A lesion beside others, and what a checkpoint got wrong: nobody sees through it what they may
not see, and what is shown is written down."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

import kept_lesions
import studies
from app.comparing import NEAREST
from app.models import Blob, Checkpoint, DatasetVersion, Event, Image, Lesion, Look, User
from app.models.reader_studies.look import Shown
from factories import make_png
from ml.images.ct_slice import ImageKind
from ml.images.roi import Box
from ml.lesion import LIVER

PER_CLASS = 3
"""Reviewed lesions of each class, by the maker."""


@pytest.fixture(autouse=True)
def time_enough(monkeypatch) -> None:
    """However busy the machine is: what time does not allow has a test of its own."""
    monkeypatch.setattr("app.comparing.BUDGET_S", 60.0)


@pytest.fixture
def kept(session, tmp_path) -> Checkpoint:
    """A served classifier that keeps its lesions."""
    folder = kept_lesions.saved(tmp_path / "kept", kept_lesions.lesions())
    row = Checkpoint.register(session, folder, "tests")
    session.commit()
    return row


@pytest.fixture
def others(session) -> list[Lesion]:
    """Lesions in patients of their own, reviewed by the maker."""
    return studies.make_known_lesions(session, PER_CLASS)


def own_lesion(app, session, checkpoint: Checkpoint, **asked) -> Lesion:
    """A lesion of one more patient, that the checkpoint has classified."""
    [lesion] = studies.make_lesion(session, 77, **asked)
    app.state.inference.classify(session, lesion, checkpoint)
    session.commit()
    return lesion


def address(lesion: Lesion, checkpoint: Checkpoint) -> str:
    return f"/lesions/{lesion.id}/comparison?checkpoint={checkpoint.name}"


def reviewed_part(html: str) -> str:
    return html.split("Nearest lesions that")[0]


def training_part(html: str) -> str:
    return html.split("Nearest lesions that")[1]


@pytest.fixture
def lesion(app, session, kept, others) -> Lesion:
    return own_lesion(app, session, kept)


def test_it_comes_after_one_s_own_class_and_of_what_classified_the_lesion(
    lesion, kept, signed_in_as
):
    browser = signed_in_as("reader")
    covered = browser.get(address(lesion, kept))
    assert covered.status_code == 403 and "yours comes first" in covered.text
    maker = signed_in_as("researcher", name="maker")
    other = maker.get(f"/lesions/{lesion.id}/comparison?checkpoint=phantom-cnn")
    assert other.status_code == 403  # the maker has not given theirs of this one either
    assert maker.get(f"/lesions/{uuid.uuid4()}/comparison?checkpoint=x").status_code == 404


def test_the_nearest_reviewed_lesions_are_told_with_who_says_so_and_on_what_basis(
    lesion, kept, others, session, signed_in_as
):
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    told = browser.get(address(lesion, kept))
    assert told.status_code == 200
    part = reviewed_part(told.text)
    shown = re.findall(r"/lesions/([0-9a-f-]+)/roi\.png\?checkpoint=([0-9a-f-]+)", part)
    assert len(shown) == NEAREST + 1  # and this lesion itself
    assert {checkpoint for _, checkpoint in shown} == {str(kept.id)}  # all at one window
    assert {one for one, _ in shown[1:]} <= {str(one.id) for one in others}
    assert part.count("maker, pathology, confidence 5 of 5") == NEAREST
    assert f"Compared with {3 * PER_CLASS} lesions" in part and "fewer than 20" in part
    distances = [float(one) for one in re.findall(r"distance (\d+\.\d)", part)]
    assert distances == sorted(distances) and len(distances) == NEAREST


def test_without_a_script_it_is_a_page_and_for_one_a_piece(
    lesion, kept, others, session, signed_in_as
):
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    whole = browser.get(address(lesion, kept)).text
    assert f"<h1>Lesion {lesion.number} beside others</h1>" in whole
    piece = browser.get(address(lesion, kept), headers={"x-fragment": "1"}).text
    assert "<h1" not in piece and "Nearest reviewed lesions" in piece
    panel = browser.get(f"/lesions/{lesion.id}", headers={"x-fragment": "1"}).text
    assert "/comparison?checkpoint=phantom-kept" in panel


def test_the_nearest_are_those_of_the_network_s_features(
    app, lesion, kept, others, session, signed_in_as
):
    studies.review(session, lesion, "cyst")
    session.commit()
    network = app.state.inference.classifier(session, kept)

    def features(one: Lesion):
        return network.outputs(one.roi(session, kept.window_hu).pixels[None]).features[0]

    own = features(lesion)
    ordered = sorted(others, key=lambda one: float(((features(one) - own) ** 2).sum()))
    part = reviewed_part(signed_in_as("researcher", name="maker").get(address(lesion, kept)).text)
    shown = re.findall(r"/lesions/([0-9a-f-]+)/roi\.png", part)[1:]
    assert shown == [str(one.id) for one in ordered[:NEAREST]]


def test_lesions_whose_class_is_covered_for_the_person_are_left_out_and_counted(
    app, lesion, kept, others, session, signed_in_as
):
    ada = studies.make_user(session, "ada")
    for one in (lesion, others[0]):
        studies.review(session, one, "cyst", by=ada, basis="imaging")
    session.commit()
    browser = signed_in_as("reader", name="ada")
    part = reviewed_part(browser.get(address(lesion, kept)).text)
    assert f"Left out: {3 * PER_CLASS - 1} lesions of which you have given no class yet" in part
    assert part.count("maker, pathology") == 1  # of the one of which hers is given
    assert "ada, imaging only" in part
    app.state.settings.review_first = False
    part = reviewed_part(browser.get(address(lesion, kept)).text)
    assert "Left out" not in part and part.count("maker, pathology") == NEAREST


def test_neither_the_case_itself_nor_the_same_patient_or_image_stands_beside_it(
    app, session, kept, signed_in_as
):
    first, second = studies.make_lesion(session, 77, boxes=((50, 50), (80, 80)))
    [again] = studies.make_lesion(session, 77, study="another examination")
    for one in (first, second, again):
        studies.review(session, one, "cyst")
    app.state.inference.classify(session, first, kept)
    session.commit()
    html = signed_in_as("researcher", name="maker").get(address(first, kept)).text
    part = reviewed_part(html)
    assert str(second.id) not in html and str(again.id) not in html
    assert "Left out: 2 lesions of the same patient or on the same image." in part
    assert "No other reviewed lesion of this installation can be compared." in part


def test_withdrawn_lesions_and_those_of_which_nobody_could_tell_are_no_neighbours(
    app, session, kept, others, signed_in_as
):
    lesion = own_lesion(app, session, kept)
    studies.review(session, lesion, "cyst")
    gone, *rest = others
    gone.withdraw(session, User.require(session, "maker"))
    for one in rest[:2]:
        studies.review(session, one, "cannot_tell")
    session.commit()
    part = reviewed_part(signed_in_as("researcher", name="maker").get(address(lesion, kept)).text)
    assert f"Compared with {3 * PER_CLASS - 3} lesions" in part
    assert "cannot tell" not in part


def test_what_is_shown_is_written_down_as_seen(lesion, kept, others, session, signed_in_as):
    studies.review(session, lesion, "cyst")
    session.commit()
    html = signed_in_as("researcher", name="maker").get(address(lesion, kept)).text
    shown = set(re.findall(r"lesion=([0-9a-f-]+)", html.split("Nearest reviewed")[1]))
    assert len(shown) == NEAREST
    maker = User.require(session, "maker")
    looks = session.scalars(
        sa.select(Look.subject_id).where(Look.user_id == maker.id, Look.of == Shown.LESION)
    )
    assert {str(one) for one in looks} == shown


def test_training_lesions_come_out_of_the_checkpoint_with_their_pictures(
    lesion, kept, session, signed_in_as
):
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    part = training_part(browser.get(address(lesion, kept)).text)
    pictures = re.findall(r'src="(/checkpoints/phantom-kept/lesions/(\d+)\.png)"', part)
    assert len(pictures) == NEAREST
    lesions = kept_lesions.lesions()
    assert all(lesions.trained[lesions.ids.index(one)] for _, one in pictures)
    assert part.count("simulated, so known by construction") == NEAREST
    picture = browser.get(pictures[0][0])
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/png"
    assert picture.content == lesions.pictures[lesions.ids.index(pictures[0][1])]
    again = browser.get(pictures[0][0], headers={"if-none-match": picture.headers["etag"]})
    assert again.status_code == 304
    assert browser.get("/checkpoints/phantom-kept/lesions/9999.png").status_code == 404
    assert browser.get("/checkpoints/phantom-diffusion-cyst/lesions/0001.png").status_code == 404
    assert "1 is as far as a lesion that it had not seen usually lies" in part
    assert re.search(r"Of 9 lesions that it had not seen, \d+ % of the nearest 3 were", part)
    assert "All pictures are at −150 to 250 HU." in part


def test_the_measurements_are_told_beside_each_class_and_the_size_with_its_unit(
    lesion, kept, session, signed_in_as
):
    studies.review(session, lesion, "cyst")
    session.commit()
    html = signed_in_as("researcher", name="maker").get(address(lesion, kept)).text
    captions = re.findall(r'"strip">\s*<figcaption class="small">(.*?)</figcaption>', html)
    assert [re.split(r" [\d−]", one)[0] for one in captions] == [
        "Size", "Mean", "Rim less centre", "Heterogeneity",
    ]  # fmt: skip
    assert f"Size {lesion.diameter_mm:.0f} mm:" in captions[0]
    assert all(one.count(";") == 2 and "cysts" in one for one in captions)
    assert " HU" in captions[1] and "mm" not in captions[1]
    assert html.count("strip__own") == 12


def test_without_pixel_spacing_the_size_is_unknown(app, session, kept, signed_in_as):
    lesion = own_lesion(app, session, kept)
    lesion.image.row_spacing_mm = lesion.image.column_spacing_mm = None
    studies.review(session, lesion, "cyst")
    session.commit()
    html = signed_in_as("researcher", name="maker").get(address(lesion, kept)).text
    assert "Size: unknown (the image has no pixel spacing)." in html


def test_grey_values_are_compared_with_nothing_of_a_network_for_hu(
    app, session, kept, others, signed_in_as
):
    browser = signed_in_as("researcher", name="maker")
    file = {"files": ("a.png", make_png(128))}
    browser.post("/cases", files=file, data={"contrast_phase": "portal", "pseudonym": "GREY-1"})
    image = session.scalars(sa.select(Image).where(~Image.calibrated)).one()
    maker = User.require(session, "maker")
    lesion = Lesion.mark(session, image, Box(40, 40, 40, 40), maker)
    app.state.inference.classify(session, lesion, kept)
    studies.review(session, lesion, "cyst")
    session.commit()
    html = browser.get(address(lesion, kept)).text
    assert "Nothing is compared: the grey levels of this image mean something else" in html
    assert "roi.png" not in html and "strip__own" not in html


def test_a_checkpoint_that_keeps_no_lesions_says_so_and_reviewed_ones_are_still_told(
    app, session, tmp_path, others, signed_in_as
):
    folder = kept_lesions.saved(tmp_path / "bare", None, name="phantom-bare")
    bare = Checkpoint.register(session, folder, "tests")
    lesion = own_lesion(app, session, bare)
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    html = browser.get(address(lesion, bare)).text
    assert "phantom-bare keeps nothing of the lesions that it was trained on" in html
    assert reviewed_part(html).count("maker, pathology") == NEAREST
    assert "distance" not in reviewed_part(html)  # there is no unit to tell it in
    assert "strip__own" not in html
    assert "were not kept with it" in browser.get("/checkpoints/phantom-bare").text
    assert "keeps nothing of the lesions" in browser.get("/checkpoints/phantom-bare/mistakes").text


def test_features_of_one_checkpoint_are_never_compared_with_those_of_another(
    app, session, kept, tmp_path, others, signed_in_as, monkeypatch
):
    folder = kept_lesions.saved(tmp_path / "bare", None, name="phantom-bare")
    bare = Checkpoint.register(session, folder, "tests")
    lesion = own_lesion(app, session, kept)
    app.state.inference.classify(session, lesion, bare)
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    computed = []
    for one in (kept, bare):
        network = app.state.inference.classifier(session, one)

        def counted(rois, network=network, of=one.name):
            computed.append((of, len(rois)))
            return type(network).outputs(network, rois)

        monkeypatch.setattr(network, "outputs", counted)
        assert browser.get(address(lesion, one)).status_code == 200
        assert browser.get(address(lesion, one)).status_code == 200
    for one in (kept, bare):  # the lesion itself twice, the others once, by each network its own
        assert sum(n for of, n in computed if of == one.name) == 2 + 3 * PER_CLASS


def test_what_time_does_not_allow_is_told_and_compared_the_next_time(
    app, lesion, kept, session, signed_in_as, monkeypatch
):
    studies.review(session, lesion, "cyst")
    session.commit()
    monkeypatch.setattr("app.comparing.BUDGET_S", 0.0)
    monkeypatch.setattr("app.comparing._AT_ONCE", 5)
    browser = signed_in_as("researcher", name="maker")
    assert "Compared with 5 of 9 reviewed lesions" in browser.get(address(lesion, kept)).text
    assert "Compared with 9 lesions" in browser.get(address(lesion, kept)).text


def test_a_lesion_whose_image_is_damaged_is_told_and_the_others_are_compared(
    lesion, kept, others, session, signed_in_as
):
    studies.review(session, lesion, "cyst")
    other = Blob(digest="0" * 64, media_type="application/octet-stream", size=5, data=b"other")
    session.add(other)
    session.flush()
    others[4].image.pixels_digest = other.digest
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    for _ in range(2):
        part = reviewed_part(browser.get(address(lesion, kept)).text)
        assert "Compared with 8 lesions" in part
        assert "Not compared: 1 lesion whose image is damaged" in part


# -- who reads blind -------------------------------------------------------------------------------


def test_a_person_who_reads_blind_sees_neither_training_lesions_nor_closed_cases(
    app, session, kept, signed_in_as
):
    ada = studies.make_user(session, "ada")
    studies.make_study(session, ada, per_class=2)
    session.commit()
    # marked after the study was opened, so that it is open to ada
    lesion = own_lesion(app, session, kept)
    studies.review(session, lesion, "cyst", by=ada)
    closed = set(session.scalars(sa.select(Lesion.id).where(Lesion.id != lesion.id)))
    session.commit()
    app.state.settings.review_first = False
    browser = signed_in_as("reader", name="ada")
    html = browser.get(address(lesion, kept)).text
    assert not any(str(one) in html for one in closed)
    assert "Lesions of cases that a blinded reading of yours could be about are left out." in html
    part = training_part(html)
    assert ".png" not in part and "You have a blinded reading to finish." in part
    assert "strip__" not in html  # a measurement with a class is a lesion with its class
    picture = browser.get("/checkpoints/phantom-kept/lesions/0001.png")
    assert picture.status_code == 403
    kinds = set(session.scalars(sa.select(Event.kind)))
    assert "training lesion refused to a blinded reader" in kinds
    wrong = browser.get("/checkpoints/phantom-kept/mistakes").text
    assert ".png" not in wrong and "You have a blinded reading to finish." in wrong
    assert "4 of 24 lesions" in wrong  # numbers tell of no picture
    # nobody else is kept from them
    maker = signed_in_as("researcher", name="maker")
    assert maker.get("/checkpoints/phantom-kept/lesions/0001.png").status_code == 200


def test_a_case_that_is_closed_to_a_person_has_no_comparison(app, session, kept, signed_in_as):
    ada = studies.make_user(session, "ada")
    studies.make_study(session, ada, per_class=2)
    lesion = session.scalars(sa.select(Lesion)).first()
    app.state.inference.classify(session, lesion, kept)
    session.commit()
    refused = signed_in_as("reader", name="ada").get(address(lesion, kept))
    assert refused.status_code == 403 and "blinded reading" in refused.text


# -- where the lesions are those of patients, or of this installation ------------------------------


def test_lesions_of_patients_have_no_picture_outside_the_installation_that_holds_them(
    app, session, tmp_path, signed_in_as
):
    bare = kept_lesions.without_pictures(kept_lesions.lesions())
    folder = kept_lesions.saved(
        tmp_path / "real", bare, name="real-kept", kind=ImageKind.CALIBRATED, digest="f" * 64
    )
    assert b"PNG" not in (folder / "lesions.safetensors").read_bytes()
    row = Checkpoint.register(session, folder, "tests")
    lesion = own_lesion(app, session, row, phantom=False)
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    part = training_part(browser.get(address(lesion, row)).text)
    assert "/checkpoints/real-kept/lesions" not in part
    assert "24 lesions not shown: pictures of patients are not kept with a checkpoint" in part
    assert "strip__own" in part  # numbers are compared all the same
    assert browser.get("/checkpoints/real-kept/lesions/0001.png").status_code == 404
    wrong = browser.get("/checkpoints/real-kept/mistakes").text
    assert "4 of 24 lesions" in wrong and "24 lesions not shown" in wrong


def test_beside_a_patient_s_lesion_simulated_ones_are_said_to_be_no_evidence(
    app, session, kept, signed_in_as
):
    lesion = own_lesion(app, session, kept, phantom=False)
    studies.review(session, lesion, "cyst")
    session.commit()
    part = training_part(signed_in_as("researcher", name="maker").get(address(lesion, kept)).text)
    assert "phantom-kept was trained on simulated CT, no evidence about this patient." in part


@pytest.fixture
def of_here(app, session, others, tmp_path) -> Checkpoint:
    """A classifier that was trained on a data set frozen here."""
    archive = DatasetVersion.pack(session, "frozen", LIVER, "phantom")
    version = DatasetVersion.freeze(session, User.require(session, "maker"), archive)
    ids = list(version.lesions(session))
    lesions = kept_lesions.named(kept_lesions.lesions(), ids)
    folder = kept_lesions.saved(tmp_path / "own", lesions, name="own-kept", digest=version.digest)
    row = Checkpoint.register(session, folder, "tests")
    session.commit()
    return row


def test_training_lesions_of_this_installation_are_shown_as_what_they_are(
    app, session, of_here, others, signed_in_as
):
    lesion = own_lesion(app, session, of_here)
    studies.review(session, lesion, "cyst")
    session.commit()
    browser = signed_in_as("researcher", name="maker")
    part = training_part(browser.get(address(lesion, of_here)).text)
    shown = re.findall(r"/lesions/([0-9a-f-]+)/roi\.png\?checkpoint=", part)[1:]
    assert len(shown) == NEAREST and set(shown) < {str(one.id) for one in others}
    assert "as the data set frozen has it" in part and "maker, pathology" in part
    assert "Left out" not in part
    others[1].withdraw(session, User.require(session, "maker"))
    session.commit()
    again = training_part(browser.get(address(lesion, of_here)).text)
    assert "Left out: 1 lesion withdrawn or deleted since." in again
    assert str(others[1].id) not in again
    one = DatasetVersion.all(session)[0].lesions(session)
    assert browser.get(f"/checkpoints/own-kept/lesions/{next(iter(one))}.png").status_code == 404


def test_their_class_is_covered_as_everywhere_and_the_same_patient_left_out(
    app, session, of_here, others, signed_in_as
):
    ada = studies.make_user(session, "ada")
    lesion = others[0]
    app.state.inference.classify(session, lesion, of_here)
    studies.review(session, lesion, "cyst", by=ada)
    session.commit()
    part = training_part(signed_in_as("reader", name="ada").get(address(lesion, of_here)).text)
    assert "roi.png" not in part
    assert "strip__" not in part  # nor is a class told by a measurement
    assert f"Left out: {3 * PER_CLASS - 1} lesions of which you have given no class yet" in part
    mistakes = signed_in_as("reader", name="ben").get("/checkpoints/own-kept/mistakes").text
    assert "roi.png" not in mistakes and "yours comes first" in mistakes


def test_a_lesion_is_not_measured_beside_itself_nor_beside_what_is_left_out(
    app, session, of_here, others, signed_in_as
):
    ada = studies.make_user(session, "ada")
    for one in others[:3]:
        studies.review(session, one, "cyst", by=ada)
    app.state.inference.classify(session, others[0], of_here)
    session.commit()

    def ticks(name: str) -> int:
        page = signed_in_as("reader", name=name).get(address(others[0], of_here)).text
        part = training_part(page)
        return sum(one.count("M") for one in re.findall(r'strip__ticks" d="([^"]*)"', part))

    whole = 4 * (len(others) - 1)  # measurements
    assert ticks("maker") == whole
    assert ticks("ada") == 4 * 2


# -- what it got wrong -----------------------------------------------------------------------------


def test_what_a_checkpoint_got_wrong_is_shown_the_surest_first(kept, signed_in_as):
    browser = signed_in_as("reader")
    page = browser.get("/checkpoints/phantom-kept").text
    assert "Of 24 lesions of 12 patients" in page and "/checkpoints/phantom-kept/mistakes" in page
    html = browser.get("/checkpoints/phantom-kept/mistakes").text
    lesions = kept_lesions.lesions()
    shown = re.findall(r"/checkpoints/phantom-kept/lesions/(\d+)\.png", html)
    assert shown == [lesions.ids[row] for row in lesions.wrong] and len(shown) == 4
    assert "4 of 24 lesions of 12 patients were named wrongly. Out of fold:" in html
    numbers = [float(one) for one in re.findall(r"Probability of \w+ (0\.\d\d)", html)]
    assert numbers == sorted(numbers, reverse=True)
    assert browser.get("/checkpoints/phantom-diffusion-cyst/mistakes").status_code == 404
    assert browser.get("/checkpoints/no-such/mistakes").status_code == 404


def test_a_row_that_was_made_without_lesions_takes_them_in_when_they_come(session, tmp_path: Path):
    bare = kept_lesions.saved(tmp_path / "a", None)
    first = Checkpoint.register(session, bare, "tests")
    assert not first.keeps_lesions
    whole = kept_lesions.saved(tmp_path / "b", kept_lesions.lesions())
    again = Checkpoint.register(session, whole, "tests")
    assert again.id == first.id and again.keeps_lesions
    assert again.lesions(session).ids == kept_lesions.lesions().ids
