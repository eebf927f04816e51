"""The strangest honest uploads: each gives the right value or a clear refusal, on both databases.

Most are built here after reports of people who sent CT to viewers and archives; where
HEPATICA_TEST_DATA is set, the files of its folder ``odd_inputs`` are sent as well.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

import stow
import studies
from app.db import Database
from app.main import create_app
from app.models import ApiToken, Case, Checkpoint, Image, User
from app.settings import Settings
from factories import make_dicom, make_hu, make_zip
from ml.checkpoints import checkpoint
from tests.ml.dicom_files import with_raw

ORIGIN = "http://testserver"


@dataclass
class House:
    """A whole installation on one kind of database."""

    database: Database
    browser: TestClient
    token: str
    _count: int = field(default=0)

    def upload(self, name: str, data: bytes, pseudonym: str = "") -> dict[str, Any]:
        reply = self.browser.post(
            "/cases",
            files=[("files", (name, data))],
            data={"contrast_phase": "portal", "pseudonym": pseudonym},
            headers={"accept": "application/json"},
        )
        assert reply.status_code in (200, 422), reply.text
        answer = reply.json()
        return {"accepted": [], "passed_over": [], **answer, "status": reply.status_code}

    def classify(self, name: str, data: bytes, **form: str) -> dict[str, Any]:
        reply = self.browser.post(
            "/api/v1/classifications",
            files={"image": (name, data)},
            data=form or {"box": "35,25,30,30"},
            headers={"authorization": f"Bearer {self.token}"},
        )
        return {**reply.json(), "status": reply.status_code}

    def stacks(self, answer: dict[str, Any]) -> list[list[list[int]]]:
        """Per case its stacks as values of one pixel, in reading order."""
        found = []
        with self.database.reading() as session:
            for case_id in dict.fromkeys(item["case_id"] for item in answer["accepted"]):
                case = Case.require(session, uuid.UUID(case_id))
                found.append(
                    [
                        [int(image.pixels(session)[40, 50]) for image in stack.images]
                        for series in case.series
                        for stack in series.stacks
                    ]
                )
        return found

    def forget(self) -> None:
        """Remove every case."""
        with self.database.transaction() as session:
            for case_id in session.scalars(sa.select(Case.id)).all():
                studies.remove(session, Case.require(session, case_id))


@pytest.fixture(scope="module")
def _houses(
    tmp_path_factory: pytest.TempPathFactory, postgres_of_module: str
) -> Iterator[dict[str, House]]:
    folder = tmp_path_factory.mktemp("odd")
    addresses = {"sqlite": f"sqlite:///{folder}/hepatica.sqlite3", "postgresql": postgres_of_module}
    houses = {}
    for name, address in addresses.items():
        database = Database(address)
        database.migrate()
        with database.transaction() as session:
            for root in checkpoint.shipped():
                Checkpoint.register(session, root, "tests")
            User.add(session, "ada", "reader", "correct horse")
            token = ApiToken.add(session, "odd", "machine")
        settings = Settings(database_url=address, installation_key="k" * 40)
        browser = TestClient(
            create_app(settings),
            base_url=ORIGIN,
            headers={"origin": ORIGIN},
            follow_redirects=False,
        )
        browser.__enter__()
        reply = browser.post("/sessions", data={"name": "ada", "password": "correct horse"})
        assert reply.status_code == 303
        houses[name] = House(database, browser, token)
    yield houses
    for house in houses.values():
        house.browser.__exit__(None, None, None)
        house.database.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, _houses: dict[str, House]) -> House:
    chosen = _houses[request.param]
    chosen.forget()
    return chosen


def slice_of(seed: int, **more: Any) -> bytes:
    """A slice whose pixel (40, 50) is 110 + seed."""
    hu = np.full((96, 80), 110 + seed, np.int16)
    hu[:6, :10] = -1000
    hu[45:60, 40:60] = 25
    return make_dicom(hu, **more)


def values(*seeds: int) -> list[int]:
    return [110 + seed for seed in seeds]


# -- built here --------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("number", ["456115117112105110101", "2147483648", "-2147483649"])
def test_an_instance_number_of_no_use_costs_nobody(house: House, number: str) -> None:
    odd = with_raw("InstanceNumber", number.encode())
    answer = house.upload(
        "two.zip", make_zip({"odd.dcm": odd, "good.dcm": slice_of(0)}), pseudonym=""
    )
    assert answer["status"] == 200
    assert {item["file"] for item in answer["accepted"]} == {"two.zip/odd.dcm", "two.zip/good.dcm"}
    assert any("InstanceNumber" in str(item["warnings"]) for item in answer["accepted"])


def test_two_images_under_one_uid_are_never_called_the_same(house: House) -> None:
    batch = {f"{n}.dcm": slice_of(n, SOPInstanceUID="1.2.3", z=5.0 * n) for n in (0, 3, 6)}
    answer = house.upload("same.zip", make_zip(batch))
    assert len(answer["accepted"]) == 1
    assert len(answer["refused"]) == 2
    for item in answer["refused"]:
        assert "SOP Instance UID belongs to another image" in item["reason"]
    again = house.upload("first.dcm", batch["0.dcm"])
    assert again["accepted"][0]["known"] is True
    assert again["accepted"][0]["known"]


def test_studies_whose_uids_hold_letters_stay_apart(house: House) -> None:
    batch = {
        f"{study}{n}.dcm": slice_of(
            seed + 3 * n,
            number=n + 1,
            z=5.0 * n,
            StudyInstanceUID=f"1.2.3.ANON-{study}",
            SeriesInstanceUID=f"1.2.3.ANON-{study}.1",
            SOPInstanceUID=f"1.2.3.ANON-{study}.1.{n}",
        )
        for study, seed in (("A", 0), ("B", 60))
        for n in (0, 1)
    }
    answer = house.upload("letters.zip", make_zip(batch))
    assert sorted(house.stacks(answer)) == [[values(3, 0)], [values(63, 60)]]
    assert all("no valid UID" in str(item["warnings"]) for item in answer["accepted"])


def test_orientations_and_phases_of_one_series_become_stacks_and_it_is_said(house: House) -> None:
    coronal = [1, 0, 0, 0, 0, -1]
    batch = {
        **{f"a{n}": slice_of(n, number=n + 1, z=5.0 * n) for n in (0, 1, 2)},
        **{
            f"c{n}": slice_of(
                20 + n,
                number=10 + n,
                ImageOrientationPatient=coronal,
                ImagePositionPatient=[0, 5.0 * n, 0],
            )
            for n in (0, 1, 2)
        },
        **{
            f"p{n}": slice_of(60 + n, number=20 + n, z=5.0 * n, AcquisitionNumber=2)
            for n in (0, 1, 2)
        },
    }
    answer = house.upload("mixed.zip", make_zip(batch))
    assert house.stacks(answer) == [[values(2, 1, 0), values(20, 21, 22), values(62, 61, 60)]]
    assert any("3 stacks" in str(item["warnings"]) for item in answer["accepted"])
    case = answer["accepted"][0]["case_url"]
    text = house.browser.get(case).text
    assert "Series 1, coronal" in text
    assert "acquisition 2" in text


def test_slices_without_a_position_come_in_the_same_order_on_both_databases(house: House) -> None:
    batch = {}
    for n in range(6):
        without = ("ImagePositionPatient",) if n in (1, 4) else ()
        batch[f"{n}"] = slice_of(3 * n, number=n + 1, z=5.0 * n, without=without)
    answer = house.upload("some.zip", make_zip(batch))
    assert house.stacks(answer) == [[values(15, 12, 9, 6, 3, 0)]]
    assert any("state no position" in str(item["warnings"]) for item in answer["accepted"])


def test_nothing_in_a_zip_is_dropped_in_silence(house: House) -> None:
    batch = {"DICOMDIR_export/IM0": slice_of(0), "DICOMDIR": b"index", "a/.DS_Store": b"x"}
    answer = house.upload("disc.zip", make_zip(batch))
    assert len(answer["accepted"]) == 1
    assert answer["passed_over"] == ["disc.zip/DICOMDIR", "disc.zip/a/.DS_Store"]


def test_a_placeholder_of_an_anonymiser_is_told_or_replaced_by_a_pseudonym(house: House) -> None:
    first = house.upload("a.dcm", slice_of(0, study="1", patient_id="ANONYMIZED"))
    assert "count as one patient" in str(first["accepted"][0]["warnings"])
    second = house.upload("b.dcm", slice_of(1, study="2", patient_id="ANONYMIZED"), "Frog 7")
    assert "count as one" not in str(second["accepted"][0]["warnings"])
    with house.database.reading() as session:
        names = {case.pseudonym: case.patient_hmac for case in session.scalars(sa.select(Case))}
    assert names["Frog 7"] is None


def test_a_pseudonym_or_phase_that_is_not_used_is_said(house: House) -> None:
    answer = house.upload("a.dcm", slice_of(0), "Frog 7")
    assert "Frog 7 was not used" in str(answer["accepted"][0]["warnings"])


def test_a_file_goes_in_whole_or_not_at_all(house: House) -> None:
    from pydicom.uid import generate_uid

    frames = np.stack([make_hu(n) for n in (1, 2, 3)])
    uid = generate_uid(entropy_srcs=["frames"])
    assert house.upload("one.dcm", make_dicom(frames[0], SOPInstanceUID=uid))["status"] == 200
    different = frames.copy()
    different[0] += 1
    data = make_dicom(
        different,
        SOPInstanceUID=uid,
        NumberOfFrames=3,
        Rows=128,
        Columns=128,
    )
    assert house.upload("three.dcm", data)["status"] == 422
    with house.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Image)) == 1


def test_the_rest_api_names_what_it_takes(house: House) -> None:
    answer = house.classify("slice.zip", make_zip({"SLICE.DCM": slice_of(0)}))
    assert answer["status"] == 422
    assert "send the slice itself" in answer["detail"]
    zero = house.classify("ct.dcm", slice_of(0), center="50,40", diameter_mm="0")
    assert zero["status"] == 422
    assert "above zero" in zero["detail"]


def test_pixels_are_bounded_per_upload(house: House) -> None:
    settings = house.browser.app.state.settings  # type: ignore[attr-defined]
    before = settings.max_decoded_mpx
    settings.max_decoded_mpx = 0.01
    try:
        answer = house.upload(
            "many.zip", make_zip({f"{n}.dcm": slice_of(n, number=n) for n in range(3)})
        )
    finally:
        settings.max_decoded_mpx = before
    assert len(answer["accepted"]) == 1
    assert all("Upload it by itself" in item["reason"] for item in answer["refused"])


# -- the folder of test data -------------------------------------------------------------------

LESION = 25


def _reads(house: House, name: str, data: bytes, lesion: int = LESION) -> dict[str, Any]:
    """Both doors take a slice, and its lesion has the value that the pattern says."""
    answer = house.upload(name, data, "Frog 7")
    assert answer["status"] == 200, answer
    assert not answer["refused"]
    assert house.stacks(answer) == [[[lesion]]]
    scored = house.classify(name, data)
    assert scored["status"] == 200, scored
    return {"warnings": answer["accepted"][0]["warnings"] + scored["warnings"]}


def _refuses(house: House, name: str, data: bytes, *words: str) -> None:
    """Both doors refuse a slice, naming it and what is wrong."""
    answer = house.upload(name, data, "Frog 7")
    assert answer["status"] == 422
    scored = house.classify(name, data)
    assert scored["status"] == 422
    for text in (answer["refused"][0]["reason"], scored["detail"]):
        assert name in text
        for word in words:
            assert word in text


def _warned(word: str) -> Callable[[House, str, bytes], None]:
    def check(house: House, name: str, data: bytes) -> None:
        assert word in str(_reads(house, name, data)["warnings"])

    return check


def _refused(*words: str) -> Callable[[House, str, bytes], None]:
    return lambda house, name, data: _refuses(house, name, data, *words)


def _picture(house: House, name: str, data: bytes) -> None:
    answer = house.upload(name, data, "Frog 7")
    scored = house.classify(name, data)
    assert "3% of its 16-bit grey range" in str(answer["accepted"][0]["warnings"])
    assert "3% of its 16-bit grey range" in str(scored["warnings"])


def _holds(*stacks: list[int], refused: int = 0, said: str = "") -> Callable[..., None]:
    def check(house: House, name: str, data: bytes) -> None:
        answer = house.upload(name, data, "Frog 7")
        assert len(answer["refused"]) == refused
        found = [stack for case in house.stacks(answer) for stack in case]
        assert sorted(found) == sorted([[LESION + seed for seed in stack] for stack in stacks])
        assert said in str(answer["accepted"])
        refusal = house.classify(name, data)
        assert refusal["status"] == 422
        assert "send the slice itself" in refusal["detail"]

    return check


def _one_of_each(house: House, name: str, data: bytes) -> None:
    answer = house.upload(name, data, "Frog 7")
    assert len(answer["accepted"]) == 1
    assert all("belongs to another image" in item["reason"] for item in answer["refused"])
    assert len(answer["refused"]) >= 1


def _nested(house: House, name: str, data: bytes) -> None:
    answer = house.upload(name, data, "Frog 7")
    assert answer["status"] == 422
    assert "unpack it" in answer["refused"][0]["reason"]
    assert "where archives are accepted" not in answer["refused"][0]["reason"]


def _no_diameter(house: House, name: str, data: bytes) -> None:
    scored = house.classify(name, data, center="50,40", diameter_mm="0")
    assert scored["status"] == 422
    assert "above zero" in scored["detail"]


def _two_patients(house: House, name: str, data: bytes) -> None:
    answer = house.upload(name, data)
    assert len(answer["accepted"]) == 2
    assert all("count as one patient" in str(item["warnings"]) for item in answer["accepted"])


ODD: dict[str, Callable[[House, str, bytes], Any]] = {
    "slope_comma.dcm": _refused("RescaleSlope", "0,5"),
    "slope_two_values.dcm": _refused("RescaleSlope", "2\\2"),
    "intercept_comma_signed.dcm": _refused("RescaleIntercept", "-1024,0"),
    "intercept_two_values_signed.dcm": _refused("RescaleIntercept"),
    "intercept_comma.dcm": _refused("RescaleIntercept", "-1024,0"),
    "modality_lut_signed.dcm": _refused("ModalityLUTSequence"),
    "modality_lut_unsigned.dcm": _refused("ModalityLUTSequence"),
    "pixelrep_wrong.dcm": _refused("PixelRepresentation"),
    "j2k_ff_pad.dcm": _warned("padding after the end"),
    "jls_ff_pad.dcm": _warned("padding after the end"),
    "same_sop_other_pixels.zip": _one_of_each,
    "same_sop_all_slices.zip": _one_of_each,
    "instance_number_21_digits.dcm": _warned("InstanceNumber"),
    "instance_number_2147483648.dcm": _warned("InstanceNumber"),
    "invalid_uids_two_studies.zip": _holds([3, 0], [63, 60], said="no valid UID"),
    "mixed_orientation.zip": _holds([6, 3, 0], [100, 101, 102], said="2 stacks"),
    "localizer_scout_word.zip": _holds([6, 3, 0], refused=1),
    "two_phases_one_series.zip": _holds([6, 3, 0], [66, 63, 60], said="2 stacks"),
    "position_in_some.zip": _holds([15, 12, 9, 6, 3, 0], said="state no position"),
    "zip_folder_named_dicomdir.zip": _holds([0]),
    "zip_folder_named_dicomdir_mixed.zip": _holds([5, 0]),
    "pixels_2_too_long.dcm": _warned("2 zero bytes"),
    "pixels_100_too_long.dcm": _warned("100 zero bytes"),
    "zip_upper_dcm.zip": _holds([0]),
    "ct_64.dcm": _no_diameter,
    "png16_uses_12_bits.png": _picture,
    "png16_offset_32768.png": _picture,
    "length_swallows_the_name.dcm": _refused("damaged"),
    "rescale_type_US_derived.dcm": _warned("US (unspecified)"),
    "imagetype_lower_US.dcm": _warned("US (unspecified)"),
    "coronal_single.dcm": _warned("coronal, not axial"),
    "rotated_180.dcm": _reads,
    "iodine_map_as_hu.dcm": _warned("IODINE"),
    "placeholder_patient_id.zip": _two_patients,
    "zip_nested.zip": _nested,
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_input_gives_what_its_description_says(
    house: House, name: str, test_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = (test_data / "odd_inputs" / name).read_bytes()
    ODD[name](house, name, data)
    said = "".join(capfd.readouterr())
    for private in ("ODD^INPUT", "HEP-SECRET-77"):
        assert private not in said


def test_every_odd_input_is_tried(test_data: Path) -> None:
    files = {path.name for path in (test_data / "odd_inputs").iterdir() if path.suffix != ".md"}
    assert files == set(ODD)


def test_one_patient_id_of_two_issuers_is_told(house: House) -> None:
    first = house.upload("a.dcm", slice_of(0, study="1", IssuerOfPatientID="NORTH"))
    same = house.upload("b.dcm", slice_of(1, study="2", IssuerOfPatientID="NORTH"))
    other = house.upload("c.dcm", slice_of(2, study="3", IssuerOfPatientID="SOUTH"))
    told = ["another issuer" in str(one["accepted"][0]["warnings"]) for one in (first, same, other)]
    assert told == [False, False, True]
    assert "NORTH" not in str(other) + house.browser.get(other["accepted"][0]["case_url"]).text


def test_two_scans_of_one_series_never_alternate(house: House) -> None:
    batch = {f"a{n}": slice_of(n, number=n + 1, z=5.0 * n) for n in (0, 1, 2)}
    batch |= {f"p{n}": slice_of(60 + n, number=n + 4, z=5.0 * n + 2.5) for n in (0, 1, 2)}
    answer = house.upload("two.zip", make_zip(batch))
    assert house.stacks(answer) == [[values(2, 1, 0), values(62, 61, 60)]]
    assert any("2 stacks" in str(one["warnings"]) for one in answer["accepted"])


def test_two_patients_whose_ids_cannot_be_read_stay_two(house: House) -> None:
    seen = set()
    for n, name in enumerate(("Mü1", "Mö1")):
        odd = with_raw(
            "PatientID",
            name.encode("latin-1"),
            SpecificCharacterSet="ISO_IR 192",
            StudyInstanceUID=f"1.2.{n}",
            SOPInstanceUID=f"1.2.3.{n}",
        )
        house.upload(f"{n}.dcm", odd)
    with house.database.reading() as session:
        seen = set(session.scalars(sa.select(Case.patient_hmac)))
    assert len(seen) == 2


def test_zips_that_are_run_together_lose_nothing_in_silence(house: House) -> None:
    answer = house.upload("two.zip", make_zip({"a": slice_of(0)}) + make_zip({"b": slice_of(1)}))
    assert answer["status"] == 422
    assert "does not list" in answer["refused"][0]["reason"]


@pytest.mark.parametrize(
    ("patient_id", "placeholder"),
    [("ANON^ANON", True), ("Anonymous Patient", True), ("PatientID", True), ("REDACTED", True),
     ("999999", True), ("not available", True), ("?", True), ("Anonymous1", False),
     ("12345678", False), ("Patient 1", False), ("NA17", False)],
)  # fmt: skip
def test_what_stands_for_nobody_is_told_in_any_spelling(
    house: House, patient_id: str, placeholder: bool
) -> None:
    answer = house.upload("a.dcm", slice_of(0, patient_id=patient_id))
    assert ("count as one patient" in str(answer["accepted"][0]["warnings"])) is placeholder


TEXTS = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "AcquisitionDate", "StudyDescription",
    "Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "ContrastBolusAgent", "KVP",
    "ImageType", "InstanceNumber", "SliceThickness", "RescaleType", "BurnedInAnnotation",
    "PatientIdentityRemoved", "WindowCenterWidthExplanation",
)  # fmt: skip
"""Every attribute of text that is read of an image, and some that are not."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("bad", "charset"),
    [(b"a\0b", None), (b"a\x07b\xed\xa0\x80b", "ISO_IR 192"), (b"a\x1b$B\xff", "\\ISO 2022 IR 87")],
)
def test_text_that_nobody_can_keep_costs_no_other_file_and_is_no_fault(house, bad, charset):
    """By the page, and by STOW: each is taken without it or refused, and the honest one is in."""
    odd = [with_raw(name, bad, SpecificCharacterSet=charset) for name in TEXTS]
    honest = slice_of(1, study="honest", patient_id="honest")
    answer = house.upload(
        "a.zip", make_zip({**{f"{n}.dcm": one for n, one in enumerate(odd)}, "good.dcm": honest})
    )
    told = [item["file"] for item in (*answer["accepted"], *answer["refused"])]
    assert sorted(told) == sorted([f"a.zip/{n}.dcm" for n in range(len(odd))] + ["a.zip/good.dcm"])
    assert "a.zip/good.dcm" in [item["file"] for item in answer["accepted"]]
    house.forget()
    reply = stow.store(house.browser, house.token, *odd, honest)
    assert reply.status_code in (200, 202), reply.text
    items = [*stow.told(reply).get("ReferencedSOPSequence", ())]
    assert str(pydicom.dcmread(io.BytesIO(honest)).SOPInstanceUID) in [
        one.ReferencedSOPInstanceUID for one in items
    ]
