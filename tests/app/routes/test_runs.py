"""Runs over HTTP: ordered, watched, and what they came to taken, with who took it in the record."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
import sqlalchemy as sa

import studies
from app.models import Blob, DatasetVersion, Event, Look, Run, User
from app.models.reader_studies.look import Shown
from app.models.runs.run import ReportInside
from ml.experiment.report import page
from ml.experiment.results import Results
from tests.app.models.runs.test_runs import _zipped
from tests.golden import stored_run
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


@pytest.fixture
def done(rita, version, session, tmp_path):
    """A run that has ended, with a report as a worker of this version writes it."""
    run = Run.queue(session, User.require(session, "rita"), version, "quick", 1)
    stored = stored_run.unpacked(stored_run.OLD, tmp_path / "stored")
    html = page.render(Results.load(stored), stored, stored_run.planes())
    run.finish(session, b"{}", html.encode())
    session.commit()
    return run


def test_a_report_is_part_of_the_page_of_its_run_in_the_colours_of_the_page(rita, done, session):
    shown = rita.get(f"/runs/{done.id}")
    assert "<iframe" not in shown.text and shown.text.count("<!doctype") == 1
    assert "Did synthetic ROIs help?" in shown.text and "Where it comes from" in shown.text
    [style] = re.findall("<style>(.*?)</style>", shown.text, re.DOTALL)
    assert style.startswith(".run-report {")
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = shown.headers["content-security-policy"]
    assert f"style-src 'self' 'sha256-{allowed}';" in policy and "unsafe" not in policy
    looks = session.scalars(sa.select(Look.subject_id).where(Look.of == Shown.VERSION)).all()
    assert looks == [done.dataset_id]


@pytest.mark.parametrize(
    "foreign",
    [
        b"<p>the report</p>",
        b"<style>p{}</style><body><p onclick='x()'>a</p></body></html>",
        b"<style>p{}</style><body><script>x()</script></body></html>",
        b'<style>p{}</style><body><i style="--c:#000">a</i></body></html>',
        b"<style>p{}</style><body><iframe src='/'></iframe></body></html>",
    ],
)
def test_what_is_no_report_of_this_version_stays_alone(foreign, rita, done, session):
    assert ReportInside.of(foreign) is None
    done.finish(session, b"{}", foreign)
    session.commit()
    shown = rita.get(f"/runs/{done.id}")
    assert "Read it alone" in shown.text and foreign.decode() not in shown.text
    assert rita.get(f"/runs/{done.id}/report").content == foreign


def test_a_report_that_is_damaged_leaves_the_page_of_its_run(rita, done, session):
    other = Blob(digest="0" * 64, media_type="text/html", size=5, data=b"other")
    session.add(other)
    session.flush()
    done.report_digest = other.digest
    session.commit()
    shown = rita.get(f"/runs/{done.id}")
    assert shown.status_code == 200 and "results.json" in shown.text
    assert "other" not in shown.text.partition("<main")[2] and 'role="status"' in shown.text
    assert rita.get(f"/runs/{done.id}/report").status_code >= 400


def test_who_reads_blind_is_told_why_the_report_is_not_there(rita, done, session):
    studies.make_study(session, User.require(session, "rita"), per_class=2)
    session.commit()
    shown = rita.get(f"/runs/{done.id}")
    assert shown.status_code == 200 and "You have a blinded reading to finish." in shown.text
    assert "Did synthetic ROIs help?" not in shown.text and "<style>" not in shown.text
    assert rita.get(f"/runs/{done.id}/report").status_code == 403
