"""All that is watched of one checkpoint on one kind of image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import now
from app.models.ground.event import Event
from app.models.monitoring.acceptance import Acceptance, pairs
from app.models.monitoring.beside import Beside, beside
from app.models.monitoring.given import given
from app.models.monitoring.inputs import Inputs
from app.models.monitoring.local import Local, Standard
from app.models.monitoring.months import Months, Said
from app.models.monitoring.scope import TIME_ZONE, Scope, month_of
from ml.ground import records
from ml.images.ct_slice import ImageKind

FORMAT = 1
"""Of the JSON."""


@dataclass(frozen=True)
class Watched:
    """Which checkpoint, and by which digests: its network's, and what calibrates it."""

    name: str
    onnx_sha256: str
    trust_sha256: str | None
    training_kind: ImageKind


@dataclass(frozen=True)
class Monitoring:
    """What a page, a file and the API show.

    Attributes:
        time_zone: in which months begin.
        closed: whether cases were left out that a blinded reading could be about.
        deleted_cases: how many cases were deleted since the checkpoint came here, whatever they
            held: what was said of their lesions went with them.
    """

    format: int
    made_at: str
    checkpoint: Watched
    kind: ImageKind
    time_zone: str
    closed: bool
    deleted_cases: int
    months: Months
    acceptance: Acceptance
    local: Local
    beside: tuple[Beside, ...]
    inputs: Inputs

    @classmethod
    def of(
        cls,
        session: Session,
        scope: Scope,
        standard: Standard,
        *,
        measure: bool = False,
        at: datetime | None = None,
    ) -> Monitoring:
        """As it stands now.

        Args:
            standard: what the classes of the local test must rest on.
            measure: look at the pixels of some lesions too, which takes seconds.
            at: the present moment, where it is another one.
        """  # fmt: skip
        at = at or now()
        own = scope.checkpoint
        said, reviews = Said.of(session, scope), given(session, scope)
        both = pairs(reviews)
        standing = said.only(said.standing)
        months = Months.of(said, both, len(own.scheme), at)
        local = Local.of(session, scope, reviews, standard)
        return cls(
            format=FORMAT,
            made_at=at.isoformat(timespec="seconds"),
            checkpoint=Watched(
                own.name, own.onnx_digest, own.trust_digest, ImageKind(own.training_kind)
            ),
            kind=scope.kind,
            time_zone=TIME_ZONE,
            closed=scope.closed is not None,
            deleted_cases=_deleted(session, own.created_at),
            months=months,
            acceptance=Acceptance.of(both, own.scheme.keys),
            local=local,
            beside=beside(own, months, local),
            inputs=Inputs.of(session, scope, standing, month_of(at), measure=measure),
        )

    def record_export(self, session: Session, who: str, scope: Scope, form: str) -> None:
        """Put down who takes it away, as which file."""
        Event.record(
            session, who, "monitoring exported", str(scope.checkpoint.id),
            name=self.checkpoint.name, images=self.kind.value, format=form,
        )  # fmt: skip

    def written(self) -> bytes:
        """As JSON: every field under its name."""
        return json.dumps(records.to_json(self), allow_nan=False, ensure_ascii=False).encode()


def _deleted(session: Session, since: datetime) -> int:
    return session.execute(
        sa.select(sa.func.count())
        .select_from(Event)
        .where(Event.kind == "case deleted", Event.at >= since)
    ).scalar_one()
