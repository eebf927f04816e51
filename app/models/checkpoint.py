"""Checkpoints: trained networks as this installation serves them."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now, serialise
from app.errors import Conflict, NotFound
from app.models.blob import Blob
from app.models.event import Event
from ml import checkpoint as files
from ml.lesion import LIVER, LesionScheme


class Checkpoint(Base):
    """Weights (ONNX and safetensors), their configuration, data set digest, metrics and card."""

    __tablename__ = "checkpoint"
    __table_args__ = (sa.CheckConstraint("kind IN ('classifier','generator')", name="kind"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(100), unique=True)
    kind: Mapped[str] = mapped_column(sa.String(20), index=True)
    lesion_class: Mapped[str | None] = mapped_column(sa.String(40))
    training_kind: Mapped[str] = mapped_column(sa.String(20))
    dataset_digest: Mapped[str] = mapped_column(sa.String(64))
    meta: Mapped[dict[str, Any]]
    card: Mapped[str] = mapped_column(sa.Text)
    onnx_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    weights_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    served_since: Mapped[datetime | None]

    @staticmethod
    def register(session: Session, folder: Path, actor: str, *, serve: bool = True) -> Checkpoint:
        """Take a checkpoint folder into the database; one that is here already is left alone.

        Args:
            serve: offer it at once; otherwise it waits to be promoted.

        Raises:
            CheckpointError: the folder is no checkpoint.
        """
        loaded = files.Checkpoint.load(folder)
        serialise(session, "checkpoint registered")
        row = Checkpoint.named(session, loaded.name)
        onnx = (folder / "model.onnx").read_bytes()
        if row is not None and row.onnx_digest == Blob.digest_of(onnx):
            return row
        fields: dict[str, Any] = {
            "kind": loaded.kind,
            "lesion_class": loaded.lesion_class,
            "training_kind": loaded.training_kind,
            "dataset_digest": loaded.dataset_digest,
            "meta": loaded.to_dict(),
            "card": (folder / "CARD.md").read_text("utf-8"),
            "onnx_digest": Blob.store(session, onnx, "application/onnx"),
            "weights_digest": Blob.store(
                session,
                (folder / "weights.safetensors").read_bytes(),
                "application/vnd.safetensors",
            ),
        }
        if row is not None:  # a new release ships retrained weights: the old row keeps its past
            row.name = f"{row.name}@{row.onnx_digest[:8]}"
            row.served_since = None
            session.flush()
        row = Checkpoint(name=loaded.name, served_since=now() if serve else None, **fields)
        session.add(row)
        session.flush()
        Event.record(session, actor, "checkpoint registered", str(row.id), name=row.name)
        return row

    def promote(self, session: Session, by: str) -> None:
        """Offer it from now on; of classifiers the one promoted last scores lesions."""
        self.served_since = now()
        Event.record(session, by, "checkpoint promoted", str(self.id), name=self.name)

    def retire(self, session: Session, by: str) -> None:
        """Offer it no longer; what it said stays.

        Raises:
            Conflict: it is the only classifier that is served.
        """
        if self.kind == "classifier" and len(Checkpoint.served(session, "classifier")) == 1:
            raise Conflict("This is the only classifier that is served; promote another one first.")
        self.served_since = None
        Event.record(session, by, "checkpoint retired", str(self.id), name=self.name)

    @staticmethod
    def of_stem(session: Session, stem: str) -> list[Checkpoint]:
        """The checkpoints whose names begin with ``stem`` and a hyphen, by name."""
        query = sa.select(Checkpoint).where(Checkpoint.name.startswith(f"{stem}-"))
        return list(session.scalars(query.order_by(Checkpoint.name)))

    @staticmethod
    def register_shipped(session: Session) -> None:
        """Take in the checkpoints that came with the software."""
        for folder in files.shipped():
            Checkpoint.register(session, folder, "installation")

    @staticmethod
    def named(session: Session, name: str) -> Checkpoint | None:
        return session.execute(
            sa.select(Checkpoint).where(Checkpoint.name == name)
        ).scalar_one_or_none()

    @staticmethod
    def require(session: Session, name: str) -> Checkpoint:
        """The checkpoint of that name; NotFound when there is none."""
        row = Checkpoint.named(session, name)
        if row is None:
            raise NotFound(f"There is no checkpoint named {name!r}. See /checkpoints for the list.")
        return row

    @staticmethod
    def served(session: Session, kind: str) -> list[Checkpoint]:
        """The checkpoints that are offered, the longest served first."""
        return list(
            session.scalars(
                sa.select(Checkpoint)
                .where(Checkpoint.kind == kind, Checkpoint.served_since.is_not(None))
                .order_by(Checkpoint.served_since, Checkpoint.name)
            )
        )

    @staticmethod
    def classifier(session: Session) -> Checkpoint:
        """The classifier that scores lesions: the one put to serve last.

        Raises:
            NotFound: none is served.
        """
        rows = Checkpoint.served(session, "classifier")
        if not rows:
            raise NotFound(
                "No classifier is served. Run `python -m app serve` once to register the shipped "
                "checkpoints, or promote one of a run."
            )
        return rows[-1]

    @staticmethod
    def scheme_for_review(session: Session) -> LesionScheme:
        """The scheme that lesions are reviewed by: the served classifier's, else the liver's."""
        rows = Checkpoint.served(session, "classifier")
        return rows[-1].scheme if rows else LIVER

    @property
    def scheme(self) -> LesionScheme:
        return LesionScheme.from_dict(self.meta["scheme"])

    @property
    def window_hu(self) -> tuple[float, float]:
        low, high = self.meta["window_hu"]
        return float(low), float(high)

    @property
    def grey_range(self) -> tuple[float, float] | None:
        """The grey values that it maps to [−1, 1], of images without HU; None: all of them."""
        ends = self.meta.get("grey_range")
        return None if ends is None else (float(ends[0]), float(ends[1]))

    @property
    def file(self) -> files.Checkpoint:
        """The checkpoint in the form that ``ml`` works on."""
        return files.Checkpoint.from_dict(self.meta)

    @property
    def limits(self) -> str:
        """One line on what stands behind the scores: what was measured, on how many, of what."""
        trained = {
            "phantom": "Trained on simulated CT (phantoms)",
            "calibrated": "Trained on CT in Hounsfield units",
            "uncalibrated": "Trained on grey values without Hounsfield units",
        }[self.training_kind]
        held_out = self.meta["metrics"].get("test")
        if not held_out:
            return f"{trained}; nothing was held out. The score is not calibrated."
        accuracy = held_out["balanced_accuracy"]
        what = "phantom patients" if self.training_kind == "phantom" else "patients"
        return (
            f"{trained}; balanced accuracy {100 * accuracy['value']:.0f} % "
            f"({100 * accuracy['low']:.0f} to {100 * accuracy['high']:.0f} %) on "
            f"{held_out['n_lesions']} lesions of {held_out['n_patients']} held-out {what}. "
            "The score is not calibrated."
        )

    def onnx(self, session: Session) -> bytes:
        return Blob.read(session, self.onnx_digest)
