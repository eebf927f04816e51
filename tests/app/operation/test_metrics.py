"""Numbers for Prometheus: right, readable by its own parser, and nothing of a person in them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

import studies
from app.db import now
from app.models import ApiToken, Checkpoint, Event, TrailReceiver
from app.models.ground import trail
from app.models.jobs.job import Job, JobKind
from app.operation.syslog import Receiver
from factories import make_png


@pytest.fixture
def scraped(client, session):
    """``scraped()``: name with labels → value, as Prometheus reads it."""
    secret = ApiToken.add(session, "prometheus", "machine")
    session.commit()

    def scrape() -> dict[tuple[str, ...], float]:
        reply = client.get("/metrics", headers={"authorization": f"Bearer {secret}"})
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"].startswith("text/plain")
        scrape.text = reply.text
        return {
            (one.name, *one.labels.values()): one.value
            for family in text_string_to_metric_families(reply.text)
            for one in family.samples
        }  # fmt: skip

    return scrape


def test_requests_are_counted_by_route_and_never_by_address(client, scraped, signed_in_as, session):
    lesion = studies.make_known_lesions(session, 1)[0]
    session.commit()
    ada = signed_in_as("reader", name="ada")
    for _ in range(3):
        assert ada.get(f"/cases/{lesion.case_id}").status_code == 200
    assert ada.get("/patients/Miller-Anna").status_code == 404
    assert client.get("/cases").status_code == 303
    found = scraped()
    assert found["hepatica_http_requests_total", "GET", "/cases/{case_id}", "200"] == 3
    assert found["hepatica_http_requests_total", "GET", "unknown", "404"] == 1
    assert found["hepatica_http_requests_total", "GET", "/cases", "303"] == 1
    assert found["hepatica_http_requests_total", "POST", "/sessions", "303"] == 1
    of_case = {"hepatica_http_request_seconds_bucket", "GET", "/cases/{case_id}"}
    buckets = [value for name, value in found.items() if of_case <= set(name)]
    assert sorted(buckets) == buckets and buckets[-1] == 3 and len(buckets) == 12
    assert found["hepatica_http_request_seconds_sum", "GET", "/cases/{case_id}"] > 0
    for secret in ("Miller", "ada", str(lesion.case_id), "prometheus"):
        assert secret not in scraped.text


def test_what_networks_computed_is_counted(client, scraped, session, checkpoints):
    for each in checkpoints:
        Checkpoint.register(session, each, "tests")
    before = scraped()
    assert before["hepatica_inference_rois_total",] == 0
    secret = ApiToken.add(session, "program", "machine")
    session.commit()
    reply = client.post(
        "/api/v1/classifications",
        files={"image": ("a.png", make_png(64))},
        headers={"authorization": f"Bearer {secret}"},
    )
    assert reply.status_code == 200, reply.text
    after = scraped()
    assert after["hepatica_inference_rois_total",] == 1
    assert after["hepatica_inference_seconds_total",] > 0


def test_what_stands_in_the_database_is_told_and_what_is_not_known_is_left_out(session, scraped):
    found = scraped()
    assert found["hepatica_database_up",] == 1
    assert found["hepatica_queue", "jobs"] == 0
    assert found["hepatica_queue_oldest_seconds", "jobs"] == 0
    assert found["hepatica_disk_free_bytes",] > 0
    assert ("hepatica_last_backup_timestamp_seconds",) not in found
    assert ("hepatica_audit_unsent",) not in found  # it is sent nowhere
    moment = now()
    Event.record(session, "root", "backup made", "a folder")
    session.add(Job(kind=JobKind.CLASSIFICATION, asked_by="x", asked={}, total=1))
    session.commit()
    found = scraped()
    assert found["hepatica_last_backup_timestamp_seconds",] == pytest.approx(
        moment.timestamp(), abs=60
    )
    assert found["hepatica_queue", "jobs"] == 1
    assert 0 <= found["hepatica_queue_oldest_seconds", "jobs"] < 60
    assert found["hepatica_audit_events",] == session.scalar(
        sa.select(sa.func.count()).select_from(Event)
    )


@pytest.mark.parametrize("told", ["syslog.example.org:6514", "[::1]:6514"])
def test_what_the_receiver_of_the_trail_has_is_not_told_as_unsent(app, session, scraped, told):
    chosen = app.state.settings.model_copy(update={"audit_syslog": told})
    app.state.settings = chosen
    receiver = Receiver.of(chosen)
    TrailReceiver.hold(session, receiver.address, "auditor", 60)
    TrailReceiver.took(session, receiver.address, "auditor", trail.head(session).number)
    session.commit()
    assert scraped()["hepatica_audit_unsent",] == 0


def test_nobody_reads_it_without_a_token(client, signed_in_as):
    assert client.get("/metrics").status_code == 401
    assert signed_in_as("admin").get("/metrics").status_code == 401
