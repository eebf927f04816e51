"""How the installation is, for Prometheus: numbers alone, nothing of a patient or a person.

Whichever web process of a server is asked, the numbers are those of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.counting import BOUNDS_S, Figures
from app.db import Database
from app.errors import Unavailable
from app.models.checkpoint import Checkpoint
from app.models.ground.trail import SEALED, TrailEntry, TrailReceiver
from app.operation import disk, waiting
from app.operation.syslog import address_of
from app.settings import VERSION, Settings
from ml.checkpoints.checkpoint import CheckpointKind

if TYPE_CHECKING:
    from prometheus_client import Metric


class Metrics:
    """The numbers of one moment."""

    def __init__(self, database: Database, settings: Settings, figures: Figures) -> None:
        self._database = database
        self._settings = settings
        self._figures = figures

    def text(self) -> tuple[bytes, str]:
        """All of them as Prometheus reads them, and their media type."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator[Metric]:
        """Each number with its name and what it is."""
        yield self._gauge("hepatica_info", "Version of the software.", 1, version=VERSION)
        yield from self._of_requests()
        yield from self._of_inference()
        yield from self._of_disk()
        try:
            with self._database.glance() as session:
                fault = self._database.fault(session)
                found = [] if fault else list(self._of_database(session))
        except Unavailable:
            fault, found = "gone", []
        yield self._gauge(
            "hepatica_database_up", "1: the database can be worked with.", 0 if fault else 1
        )
        yield from found

    def _gauge(self, name: str, words: str, value: float, **labels: str) -> Metric:
        return self._gauges(name, words, {tuple(labels.values()): value}, *labels)

    @staticmethod
    def _gauges(
        name: str, words: str, values: dict[tuple[str, ...], float], *labels: str
    ) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        found = GaugeMetricFamily(name, words, labels=labels)
        for of, value in values.items():
            found.add_metric(of, value)
        return found

    def _of_requests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        counted = CounterMetricFamily(
            "hepatica_http_requests",
            "Requests that were answered; 499: nobody waited for the answer.",
            labels=("method", "route", "status"),
        )
        for (method, route, status), count in self._figures.answered.items():
            counted.add_metric((method, route, str(status)), count)
        yield counted
        took = HistogramMetricFamily(
            "hepatica_http_request_seconds",
            "How long requests took.",
            labels=("method", "route"),
        )
        bounds = [*(f"{one:g}" for one in BOUNDS_S), "+Inf"]
        for of, durations in self._figures.took.items():
            total, buckets = 0, []
            for bound, count in zip(bounds, durations.counts, strict=True):
                total += count
                buckets.append((bound, total))
            took.add_metric(of, buckets, durations.sum_s)
        yield took
        yield self._gauge(
            "hepatica_http_requests_running",
            "Requests that are being answered.",
            self._figures.running,
        )

    def _of_inference(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        for name, words, value in (
            ("rois", "ROIs that networks scored.", self._figures.rois),
            ("seconds", "How long networks computed for that.", self._figures.seconds),
        ):
            yield CounterMetricFamily(f"hepatica_inference_{name}", words, value)

    def _of_disk(self) -> Iterator[Metric]:
        free = disk.free_bytes(self._database, self._settings)
        if free is not None:
            yield self._gauge(
                "hepatica_disk_free_bytes", "Room where data are kept on this machine.", free
            )

    def _of_database(self, session: Session) -> Iterator[Metric]:
        yield from self._of_queues(session)
        served = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
        yield self._gauge("hepatica_classifiers_served", "Classifiers that answer.", len(served))
        for name, kind, words in (
            ("backup", "backup made", "When the last backup was made, in seconds of Unix time."),
            ("seal", SEALED, "When the audit trail was sealed last."),
            ("start", "server started", "When the server was started last."),
        ):
            at = waiting.last(session, kind)
            if at is not None:  # a number that is not known is left out, not 0
                yield self._gauge(f"hepatica_last_{name}_timestamp_seconds", words, at.timestamp())
        last = session.scalar(sa.select(sa.func.max(TrailEntry.number))) or 0
        yield self._gauge("hepatica_audit_events", "Events of the audit trail.", last)
        if self._settings.audit_syslog:
            row = session.get(TrailReceiver, address_of(self._settings))
            yield self._gauge(
                "hepatica_audit_unsent",
                "Events that the receiver of the audit trail does not have yet.",
                last - (row.number if row else 0),
            )

    def _of_queues(self, session: Session) -> Iterator[Metric]:
        queues = waiting.waiting(session)
        yield self._gauges(
            "hepatica_queue",
            "What waits or is being done.",
            {(name,): found.count for name, found in queues.items()},
            "queue",
        )
        yield self._gauges(
            "hepatica_queue_oldest_seconds",
            "How long the oldest of them has been there or, of notices, due; 0: none.",
            {(name,): found.age_s for name, found in queues.items()},
            "queue",
        )
        yield self._gauges(
            "hepatica_given_up",
            "What could not be sent and is tried no more.",
            {(name,): count for name, count in waiting.given_up(session).items()},
            "queue",
        )
