"""QIDO-RS: what matches is found, in pages and in one order; what is not kept matches nothing."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from app.dicomweb.matching import _wild
from app.models import Case, Image
from app.models.cases import uids
from factories import make_dicom, make_png
from stow import parsed, store

QIDO = "/dicomweb"


@pytest.fixture
def archive(client, token, signed_in_as):
    """Two patients: one with two series of two and one image, one with a phantom; and a picture."""
    files = [
        make_dicom(study="a", series="1", number=1, SeriesNumber=2, KVP="120", z=1.5),
        make_dicom(study="a", series="1", number=2, SeriesNumber=2, KVP="120"),
        make_dicom(study="a", series="2", number=9, SeriesNumber=3, KVP="80"),
        make_dicom(study="b", patient_id="PHANTOM-7", phantom=True),
    ]
    assert store(client, token, *files).status_code == 200
    form = {"contrast_phase": "portal", "pseudonym": "Pictures of 1"}
    signed_in_as("reader").post("/cases", files={"files": ("a.png", make_png())}, data=form)
    return [parsed(file) for file in files]


@pytest.fixture
def ask(client, token):
    def asked(path: str, status: int = 200, **more: str) -> list[Dataset]:
        headers = {"authorization": f"Bearer {token}", **more}
        reply = client.get(QIDO + path, headers=headers)
        assert reply.status_code == status, reply.text
        if status >= 400:
            assert reply.headers["content-type"] == "application/problem+json"
        asked.warning = reply.headers.get("warning", "")
        if status != 200:
            return []
        assert reply.headers["content-type"] == more.get("accept", "application/dicom+json")
        return [Dataset.from_json(one) for one in reply.json()]

    return asked


def test_a_study_is_told_with_its_counts_and_with_nothing_of_the_patient(archive, ask, session):
    found = ask("/studies")
    case = session.scalars(sa.select(Case).order_by(Case.created_at)).first()
    assert [one.NumberOfStudyRelatedInstances for one in found] == [3, 1, 1]
    assert [one.ModalitiesInStudy for one in found] == ["CT", "CT", "OT"]
    first = found[0]
    assert (first.StudyInstanceUID, first.NumberOfStudyRelatedSeries) == (case.uid, 2)
    assert first.PatientID == first.PatientName == case.pseudonym
    assert first.RetrieveURL == f"http://testserver/dicomweb/studies/{case.uid}"
    assert first.InstanceAvailability == "ONLINE"
    empty = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")
    assert [word for word in empty if first[word].value not in (None, "")] == []
    assert "DeidentificationMethod" not in first
    assert ask("/studies?limit=1&includefield=all")[0].DeidentificationMethod


def found_in(results: list[Dataset]) -> list[int | None]:
    return [one.get("InstanceNumber") for one in results]


def addresses(results: list[Dataset]) -> list[str]:
    return [str(one.RetrieveURL) for one in results]


MATCHES = {
    "": [1, 2, 9, 1, None],
    "?InstanceNumber=9": [9],
    "?00200013=9": [9],
    "?InstanceNumber=009": [9],
    "?Modality=CT": [1, 2, 9, 1],
    "?Modality=OT,MR": [None],
    "?Modality=C*": [1, 2, 9, 1],
    "?Modality=ct": [],
    "?KVP=120.0": [1, 2],
    "?PatientID=PHANTOM-7": [1],
    "?PatientID=PHANTOM-?": [1],
    "?PatientID=PHANTOM": [],
    "?PatientID=phantom-7": [],
    "?PatientName=phantom*": [1],
    "?PatientName=*": [1, 2, 9, 1, None],
    "?PatientName=": [1, 2, 9, 1, None],
    "?SyntheticData=YES": [1],
    "?Rows=128&Modality=CT&SeriesNumber=3": [9],
    "?SOPClassUID=1.2.840.10008.5.1.4.1.1.7": [None],
    "?InstanceCreationDate=20200101-": [1, 2, 9, 1, None],
    "?InstanceCreationDate=-20200101": [],
    "?InstanceCreationDate=20200101-20200102": [],
    "?InstanceCreationTime=00-235959.999999": [1, 2, 9, 1, None],
    "?DeidentificationMethodCodeSequence.CodeValue=113100": [1, 2, 9, 1, None],
    "?DeidentificationMethodCodeSequence.CodeValue=113101": [],
    "?Modality=CT&limit=2": [1, 2],
    "?Modality=CT&limit=2&offset=2": [9, 1],
    "?limit=2&offset=3": [1, None],
    "?offset=5": [],
    "?limit=0": [],
}


def test_an_instance_is_found_by_what_it_has(archive, ask):
    for query, expected in MATCHES.items():
        assert found_in(ask(f"/instances{query}", 200 if expected else 204)) == expected, query
        assert ask.warning == "", query


def test_uids_of_ours_and_of_the_sender_find_and_a_list_finds_all_of_it(
    archive, ask, session, client
):
    a, _, c, b = archive
    images = session.scalars(sa.select(Image)).all()
    ours = {image.sop_uid: image.uid for image in images}
    of_c = ours[uids.kept(c.SOPInstanceUID, client.app.state.key)]
    for uid in (c.SOPInstanceUID, of_c):
        assert found_in(ask(f"/instances?SOPInstanceUID={uid}")) == [9]
    both = f"{a.SOPInstanceUID},{of_c},1.2.3"
    assert found_in(ask(f"/instances?SOPInstanceUID={both}")) == [1, 9]
    assert found_in(ask(f"/instances?SOPInstanceUID={both.replace(',', '%5C')}")) == [1, 9]
    assert found_in(ask(f"/instances?SeriesInstanceUID={c.SeriesInstanceUID}")) == [9]
    assert found_in(ask(f"/instances?StudyInstanceUID={b.StudyInstanceUID}")) == [1]
    [study] = ask(f"/studies?StudyInstanceUID={b.StudyInstanceUID}")
    assert found_in(ask(f"/studies/{study.StudyInstanceUID}/instances")) == [1]
    assert found_in(ask(f"/studies/{a.StudyInstanceUID}/instances")) == [1, 2, 9]
    of_series = f"/studies/{a.StudyInstanceUID}/series/{c.SeriesInstanceUID}/instances"
    assert found_in(ask(of_series)) == [9]
    assert ask(f"{of_series}?SOPInstanceUID={a.SOPInstanceUID}", 204) == []
    assert ask("/studies?StudyInstanceUID=1.2.3", 204) == []
    # nothing of the sender's is told
    text = str(ask("/instances?includefield=all"))
    assert not any(one.SOPInstanceUID in text or one.StudyInstanceUID in text for one in archive)


def test_the_reference_frame_is_found_by_either_uid(client, token, ask):
    assert store(client, token, make_dicom(FrameOfReferenceUID="1.2.9")).status_code == 200
    [found] = ask("/instances?FrameOfReferenceUID=1.2.9")
    assert found.FrameOfReferenceUID.startswith("2.25.")
    assert len(ask(f"/instances?FrameOfReferenceUID={found.FrameOfReferenceUID}")) == 1


def test_series_are_told_with_their_number_and_size(archive, ask):
    found = ask(f"/studies/{archive[0].StudyInstanceUID}/series")
    assert [(one.SeriesNumber, one.NumberOfSeriesRelatedInstances) for one in found] == [
        (2, 2), (3, 1),
    ]  # fmt: skip
    assert {one.SeriesDescription for one in found} == {"De-identified, rebuilt by Hepatica"}
    assert "PatientID" not in found[0]
    everywhere = ask("/series")
    assert len(everywhere) == 4 and "PatientID" in everywhere[0]
    assert len(ask("/series?Modality=CT&PatientID=PHANTOM-7")) == 1
    assert len(ask("/series?SeriesNumber=3")) == 1


def test_a_page_follows_the_other_without_a_gap_or_a_double(client, token, ask):
    files = [make_dicom(study=str(n // 5), series=str(n % 2), number=1 + n % 5) for n in range(20)]
    assert store(client, token, *files).status_code == 200
    for path in ("/instances", "/series", "/studies"):
        whole = addresses(ask(path))
        assert len(set(whole)) == len(whole) > 3
        pages = [ask(f"{path}?limit=3&offset={at}") for at in range(0, len(whole), 3)]
        assert [one for page in pages for one in addresses(page)] == whole


def test_what_comes_between_two_pages_shifts_none_and_stands_at_the_end(client, token, ask):
    def comes(study: str, series: str, number: int) -> None:
        file = make_dicom(study=study, series=series, number=number)
        assert store(client, token, file).status_code == 200

    for study in ("a", "b"):
        for number in (5, 6):
            comes(study, "2", number)
    before = {path: addresses(ask(path)) for path in ("/instances", "/series", "/studies")}
    comes("a", "2", 1)  # a lower number in the oldest series, and another series of that study
    comes("a", "1", 1)
    for path, known in before.items():
        assert addresses(ask(path))[: len(known)] == known, path
    assert found_in(ask("/instances")) == [5, 6, 5, 6, 1, 1]
    study = ask("/studies")[0].StudyInstanceUID
    assert found_in(ask(f"/studies/{study}/instances?limit=2&offset=2")) == [1, 1]


def test_what_is_not_kept_matches_nothing_and_the_answer_says_so(archive, ask):
    for query in ("StudyDate=20200101-20261231", "AccessionNumber=SECRET-ACC",
                  "PatientBirthDate=19610101", "OperatorsName=A*",
                  "RequestAttributesSequence.ScheduledProcedureStepID=1"):  # fmt: skip
        assert ask(f"/studies?{query}", 204) == []
        assert query.partition("=")[0] in ask.warning and "not kept" in ask.warning
    assert len(ask("/studies?StudyDate=&AccessionNumber=")) == 3


def test_a_star_alone_matches_everything_as_no_value_does(archive, ask):
    for query in ("AccessionNumber=*", "ReferringPhysicianName=**", "StudyDescription=%20*",
                  "PatientName=*&PatientSex=*", "ProcedureCodeSequence.CodeValue=*"):  # fmt: skip
        assert len(ask(f"/studies?{query}")) == 3 and ask.warning == "", query
    assert len(ask("/instances?ImageComments=*")) == 5
    assert ask("/studies?AccessionNumber=*1", 204) == []
    assert ask("/studies?PatientAge=*", 204) == [] and "PatientAge" in ask.warning


def test_fuzzy_matching_is_not_done_and_that_is_said(archive, ask):
    assert found_in(ask("/instances?PatientName=PHANTOM-7&fuzzymatching=true")) == [1]
    assert "fuzzymatching parameter is not supported. Only literal" in ask.warning
    assert ask("/instances?PatientName=PHANTOM-8&fuzzymatching=true", 204) == []
    assert len(ask("/instances?fuzzymatching=false")) == 5 and ask.warning == ""


def test_further_attributes_are_told_where_they_are_asked_for(archive, ask):
    assert "KVP" not in ask("/instances?limit=1")[0]
    for word in ("KVP", "00180060", "00080060,00180060", "00081030&includefield=KVP", "all"):
        assert ask(f"/instances?limit=1&includefield={word}")[0].KVP == 120, word
    assert ask("/instances?limit=1&KVP=")[0].KVP == 120
    assert "StudyDescription" not in ask("/studies?includefield=00081030,00080060")[0]


SENSELESS = [
    "Nonsense=1",
    "limit=-1",
    "limit=x",
    "limit=1&limit=2",
    "offset=1.5",
    "fuzzymatching=perhaps",
    "00100021z=1",
    "InstanceNumber=nine",
    "StudyDate=2020",
    "StudyDate=-",
    "StudyTime=noon",
    "includefield=Nonsense",
    "PatientID=1&00100020=2",
    "PatientID.CodeValue=1",
    "00110010=x",
    "&".join(f"includefield={n:08}" for n in range(60)),
]


def test_a_question_that_makes_no_sense_is_refused(ask):
    for query in SENSELESS:
        for path in ("/studies", "/series", "/instances"):
            ask(f"{path}?{query}", 400)


def test_what_is_accepted_decides(archive, ask):
    for accept in ("application/dicom+json", "application/json"):
        ask("/studies", 200, accept=accept)
    for accept in ("text/html", 'multipart/related; type="application/dicom+xml"'):
        ask("/studies", 406, accept=accept)


def test_there_is_nothing_for_a_stranger_nor_in_an_empty_archive(client, ask):
    assert client.get("/dicomweb/studies").status_code == 401
    assert ask("/studies", 204) == ask("/series", 204) == ask("/instances", 204) == []
    ask("/studies/1.2.3/series", 404)


def test_a_pattern_takes_no_longer_than_both_lengths_multiplied():
    assert _wild("a*b?d*", "aXXbcdYY", False) and not _wild("a*b", "aXXbc", False)
    assert _wild("*", "", False) and _wild("", "", False) and not _wild("?", "", False)
    assert not _wild("*a" * 5000 + "b", "a" * 64, False)
