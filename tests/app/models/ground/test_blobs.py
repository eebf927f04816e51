"""Stored bytes: what comes back is what was stored, or it is said that it is not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import studies
from app.errors import Damaged
from app.models import Blob
from app.models.cases.case import Image


def damage(session, digest: str) -> None:
    """Flip a bit, as a failing disk does."""
    studies.tamper(session, "blob")
    data = bytearray(Blob.read(session, digest))
    data[len(data) // 2] ^= 1
    session.execute(sa.update(Blob).where(Blob.digest == digest).values(data=bytes(data)))
    session.commit()


def test_a_damaged_image_is_not_shown_and_the_page_says_what_to_do(session, signed_in_as, caplog):
    [lesion] = studies.make_lesion(session, 1)
    image: Image = lesion.image
    session.commit()
    reader = signed_in_as("reader")
    address = f"/images/{image.id}/pixels"
    assert reader.get(address).status_code == 200
    damage(session, image.pixels_digest)
    for path in (address, f"/images/{image.id}/preview.png", f"/lesions/{lesion.id}/roi.png"):
        reply = reader.get(path)
        assert reply.status_code == 500
        assert "an image with the SHA-256" in reply.text
        assert "restore the database from a backup" in reply.text
        assert "Traceback" not in reply.text
    assert image.pixels_digest in caplog.text
    assert not [one for one in caplog.records if one.exc_info]


def test_damaged_weights_score_nothing(session):
    digest = Blob.store(session, b"weights" * 1000, "application/onnx")
    session.commit()
    damage(session, digest)
    with pytest.raises(Damaged, match="weights of a network"):
        Blob.read(session, digest)


def test_bytes_that_are_gone_are_said_to_be(session):
    with pytest.raises(Damaged, match="is gone"):
        Blob.read(session, "0" * 64)


def test_stored_bytes_are_never_replaced_by_others(session):
    digest = Blob.store(session, b"one", "application/octet-stream")
    session.flush()
    with pytest.raises(sa.exc.DBAPIError, match="never updated"):
        session.execute(sa.update(Blob).where(Blob.digest == digest).values(data=b"two"))


def test_the_same_bytes_are_kept_once_and_come_back(session):
    digests = {Blob.store(session, b"one", "text/plain") for _ in range(3)}
    [digest] = digests
    assert Blob.read(session, digest) == b"one"
    assert session.scalar(sa.select(sa.func.count()).where(Blob.digest == digest)) == 1
