"""A client that others wrote (dicomweb-client) works unchanged over HTTP."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
import uvicorn

from app.edge import Edge
from factories import make_dicom, make_hu
from stow import parsed

dicomweb_client = pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")
from requests import HTTPError, Session  # noqa: E402 - it comes with the client


@pytest.fixture
def pacs(app, client, token):
    """The client, and the application behind a server on loopback."""
    options = {"port": 0, "log_level": "error", "http": Edge, "ws": "none", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    [port] = [one.getsockname()[1] for server in server.servers for one in server.sockets]
    session = Session()
    session.headers["Authorization"] = f"Bearer {token}"
    yield dicomweb_client.DICOMwebClient(
        f"http://127.0.0.1:{port}/dicomweb", session=session, chunk_size=20_000
    )
    server.should_exit = True
    thread.join()


def test_it_stores_searches_and_retrieves(pacs):
    sent = [parsed(make_dicom(make_hu(n), number=n, z=n)) for n in (1, 2, 3)]
    study, series = sent[0].StudyInstanceUID, sent[0].SeriesInstanceUID
    stored = pacs.store_instances(sent)  # in chunks
    assert len(stored.ReferencedSOPSequence) == 3
    assert len(pacs.store_instances(sent[:1], study).ReferencedSOPSequence) == 1

    [found] = pacs.search_for_studies(search_filters={"StudyInstanceUID": study}, limit=1)
    [one_series] = pacs.search_for_series(study)
    assert one_series["00080060"]["Value"] == ["CT"]
    instances = pacs.search_for_instances(get_remaining=True, limit=2)
    assert [one["00200013"]["Value"] for one in instances] == [[1], [2], [3]]
    assert pacs.search_for_studies(search_filters={"PatientName": "Secret*"}) == []

    own = found["0020000D"]["Value"][0]
    whole = pacs.retrieve_study(own)
    assert [one.InstanceNumber for one in whole] == [1, 2, 3]
    np.testing.assert_array_equal(whole[1].pixel_array, make_hu(2))
    assert len(list(pacs.iter_series(study, series))) == 3  # as the sender knows it
    at = (study, series, sent[2].SOPInstanceUID)
    np.testing.assert_array_equal(pacs.retrieve_instance(*at).pixel_array, make_hu(3))
    anything = (("application/dicom", "*"),)
    assert pacs.retrieve_instance(*at, media_types=anything).PatientIdentityRemoved == "YES"

    told = pacs.retrieve_instance_metadata(*at)
    assert told["00280010"]["Value"] == [128]
    assert len(pacs.retrieve_series_metadata(study, series)) == 3
    [pixels] = pacs.retrieve_bulkdata(told["7FE00010"]["BulkDataURI"])
    np.testing.assert_array_equal(np.frombuffer(pixels, "<i2"), make_hu(3).ravel())
    for media in (None, (("application/octet-stream", "1.2.840.10008.1.2.1"),)):
        [frame] = pacs.retrieve_instance_frames(*at, [1], media_types=media)
        assert frame == pixels
    picture = pacs.retrieve_instance_rendered(*at, media_types=("image/png",))
    assert picture.startswith(b"\x89PNG")
    asked = {"params": {"window": "40,400,linear"}, "media_types": ("image/jpeg",)}
    assert pacs.retrieve_instance_frames_rendered(*at, [1], **asked).startswith(b"\xff\xd8")


def test_it_is_told_what_is_refused(pacs):
    first, other = parsed(make_dicom(make_hu(1))), parsed(make_dicom(make_hu(2)))
    pacs.store_instances([first])
    with pytest.raises(HTTPError, match="409"):
        pacs.store_instances([other])
    mixed = pacs.store_instances([first, other])
    assert [one.FailureReason for one in mixed.FailedSOPSequence] == [0x0111]
    with pytest.raises(HTTPError, match="404"):
        pacs.retrieve_study("1.2.3")
    with pytest.raises(HTTPError, match="406"):
        jpeg = (("image/jpeg", "1.2.840.10008.1.2.4.50"),)
        list(pacs.iter_instance_frames(first.StudyInstanceUID, first.SeriesInstanceUID,
                                       first.SOPInstanceUID, [1], media_types=jpeg))  # fmt: skip
    pacs._session.headers["Authorization"] = "Bearer wrong"
    with pytest.raises(HTTPError, match="401"):
        pacs.search_for_studies()


def test_a_file_that_it_writes_is_stored_from_bytes(pacs):
    stream = io.BytesIO()
    parsed(make_dicom()).save_as(stream)
    assert len(pacs.store_instances([parsed(stream.getvalue())]).ReferencedSOPSequence) == 1
