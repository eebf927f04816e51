"""The PACS of the tests itself: what is given to it can be had again, and nothing stays."""

from __future__ import annotations

from factories import make_dicom
from stow import parsed


def test_it_holds_what_it_was_given_until_it_is_emptied(orthanc):
    given = make_dicom()
    orthanc.give(given)
    uid = parsed(given).SOPInstanceUID
    assert list(orthanc.held()) == [uid]
    orthanc.forget()
    assert orthanc.held() == {}
    assert f"port: {orthanc.http_port}" in orthanc.log
