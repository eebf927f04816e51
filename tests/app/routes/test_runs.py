"""Runs over HTTP: ordered, watched, and what they came to taken, with who took it in the record."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.models import DatasetVersion, Event, Run, User
from tests.app.models.runs.test_runs import _zipped
from tests.ml.discs import data_set


@pytest.fixture
def rita(signed_in_as):
    return signed_in_as("researcher", name="rita")


@pytest.fixture
def version(rita, session, tmp_path):
    data_set(tmp_path / "discs")
    frozen = DatasetVersion.freeze(
        session, User.require(session, "rita"), _zipped(tmp_path / "discs")
    )
    session.commit()
    return frozen


def test_a_run_is_ordered_watched_and_its_report_and_figures_are_taken(rita, version, session):
    form = {"dataset": str(version.id), "preset": "quick", "seeds": "2"}
    ordered = rita.post("/runs", data=form)
    assert ordered.status_code == 303
    [run] = session.scalars(sa.select(Run)).all()
    assert ordered.headers["location"] == f"/runs/{run.id}"
    assert (run.preset, run.seeds) == ("quick", 2)
    assert "No worker" in rita.get(f"/runs/{run.id}/progress").text
    for file in ("report", "results.json"):
        assert rita.get(f"/runs/{run.id}/{file}").status_code == 404

    run.finish(session, b'{"arms": []}', b"<p>the report</p>")
    session.commit()
    report = rita.get(f"/runs/{run.id}/report")
    assert report.text == "<p>the report</p>"
    assert "script-src" in report.headers["content-security-policy"] or (
        "default-src 'none'" in report.headers["content-security-policy"]
    )
    results = rita.get(f"/runs/{run.id}/results.json")
    assert results.json() == {"arms": []}
    assert "attachment" in results.headers["content-disposition"]
    taken = sa.select(Event.actor).where(Event.kind == "run results downloaded")
    assert session.scalars(taken).all() == ["rita"]


def test_runs_are_closed_to_readers(version, signed_in_as):
    reader = signed_in_as("reader")
    form = {"dataset": str(version.id), "preset": "quick"}
    assert reader.post("/runs", data=form).status_code == 403
    assert reader.get("/runs").status_code == 403
