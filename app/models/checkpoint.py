"""Checkpoints: trained networks as this installation serves them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, now, serialise
from app.errors import Conflict, Damaged, Forbidden, NotFound, Unreadable
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.people.ownership import Owned
from app.models.people.user import User
from ml import config
from ml.checkpoints import checkpoint as files
from ml.checkpoints.card import making, network
from ml.checkpoints.card import words as owners
from ml.checkpoints.card.card import Card
from ml.checkpoints.card.words import OwnersWords
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground.errors import HepaticaError
from ml.ground.records import to_json
from ml.images import greys, roi
from ml.images.ct_slice import ImageKind
from ml.lesion import LIVER, LesionScheme
from ml.trust.lesions import Lesions
from ml.trust.record import Trust, read_figures

SERVE_WORD = "SERVE"
"""What must be typed to serve a checkpoint that something speaks against."""

_SERVED = "what is served"
_WORDS = "what owners say"
_SHORT = 8
VERSION_SAYS = (
    "What answers: 12 letters of the SHA-256 of the network and, after a hyphen and where there is "
    "any of it, 8 of that of its calibration, prediction sets, novelty score and second opinion, "
    "with their figures. Another calibration of the same network is another version."
)
"""Of ``Checkpoint.version``, for programs."""
_NETWORKS: dict[tuple[str, str], network.Network] = {}
"""What files say of a network, by their digests: a few numbers, read once from many megabytes."""
_SAFETENSORS = "application/vnd.safetensors"


def _aside(name: str, onnx_digest: str, trust: str) -> str:
    """What a row is called that had to give its name away; ``trust`` as of `_trusted_by`."""
    ending = f"-{trust[:_SHORT]}" if trust else ""
    return f"{name}@{onnx_digest[:_SHORT]}{ending}"


def _trusted_by(meta: Mapping[str, Any], trust_digest: str | None) -> str:
    """``digest_of_trust`` of a stored checkpoint."""
    told = meta.get("trust")
    with contextlib.suppress(HepaticaError):  # of another version: as it was written
        told = to_json(read_figures(told))  # with what this version adds, the same for both
    return files.digest_of_trust(trust_digest, told)


def _place_among_served(context: Any) -> int | None:
    """Of a new row: after all others when it is served, else none."""
    if context.get_current_parameters().get("served_since") is None:
        return None
    highest = sa.select(sa.func.max(Checkpoint.served_number))
    return (context.connection.scalar(highest) or 0) + 1


class _Description(sa.types.TypeDecorator[Any]):
    """JSON of tens of kilobytes that nobody changes once it is stored: each text is read once."""

    impl = sa.JSON
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """As of `sa.JSON`; None where the driver reads it itself."""
        read = super().result_processor(dialect, coltype)
        return None if read is None else lru_cache(maxsize=32)(read)


class Checkpoint(Base):
    """Weights (ONNX and safetensors), their configuration, data set digest, metrics and card.

    ``served_number`` counts what was put to serve; the highest was last, whatever the clock said.
    ``run_id`` is the run that it came from; None for those that came with the software.
    ``words`` is what its owner typed for the card; None where nobody has typed anything.
    """

    __tablename__ = "checkpoint"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('classifier','generator')", name="kind"),
        sa.UniqueConstraint(
            "name", info={"taken": "There is a checkpoint of this name already; it was kept."}
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(sa.String(100))
    kind: Mapped[CheckpointKind] = mapped_column(Word(CheckpointKind, 20), index=True)
    lesion_class: Mapped[str | None] = mapped_column(sa.String(40))
    training_kind: Mapped[ImageKind] = mapped_column(Word(ImageKind, 20))
    dataset_digest: Mapped[str] = mapped_column(sa.String(64))
    meta: Mapped[dict[str, Any]] = mapped_column(_Description)
    card: Mapped[str] = mapped_column(sa.Text)
    onnx_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    weights_digest: Mapped[str] = mapped_column(sa.ForeignKey("blob.digest"))
    trust_digest: Mapped[str | None] = mapped_column(sa.ForeignKey("blob.digest"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    served_since: Mapped[datetime | None]
    served_number: Mapped[int | None] = mapped_column(default=_place_among_served)
    run_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("run.id"), index=True)
    words: Mapped[dict[str, str] | None] = mapped_column(sa.JSON(none_as_null=True))

    # a Run is of a later room; all that is asked of it here is whose it is
    run: Mapped[Owned | None] = relationship("Run")

    @staticmethod
    def register(
        session: Session,
        folder: Path,
        actor: str,
        *,
        serve: bool = True,
        run_id: uuid.UUID | None = None,
    ) -> Checkpoint:
        """Take a checkpoint folder into the database; one that is here already is left alone.

        Other weights under a name that is here, or the same ones with another calibration, take the
        name over: the row that had it keeps its past as ``NAME@DIGEST``, and gets the name back
        when they come again.

        Args:
            serve: offer it at once; otherwise it waits to be promoted.
            run_id: the run that it came from.

        Raises:
            CheckpointError: the folder is no checkpoint, or its answers cannot be made with what
                is beside its network.
            WordsError: its owner's words cannot be kept.
        """
        loaded = files.Checkpoint.load(folder)
        onnx = (folder / "model.onnx").read_bytes()
        weights = (folder / "weights.safetensors").read_bytes()
        trust, kept = loaded.trust_bytes(), loaded.lesions_bytes()
        card = (folder / "CARD.md").read_text("utf-8")
        said = owners.beside(folder).typed or None
        digest = Blob.digest_of(onnx)
        loaded.trust_of(trust)  # what cannot answer takes no name over from what can
        if kept is not None:
            loaded.lesions_of(kept)
        meta = loaded.to_dict()
        trusted = _trusted_by(meta, None if trust is None else Blob.digest_of(trust))
        serialise(session, _SERVED)
        held = Checkpoint.named(session, loaded.name)
        if held is not None and (held.onnx_digest, held._trusted_by) == (digest, trusted):
            if held.words is None:  # taken in by a version that knew no words
                held.words = said
            held._keep_lesions(session, loaded, kept)
            return held
        row = Checkpoint._put_aside(session, loaded.name, digest, trusted)
        if held is not None:
            held.name = _aside(held.name, held.onnx_digest, held._trusted_by)
            held.served_since = held.served_number = None
            session.flush()
        if row is not None:
            row.name = loaded.name
        else:
            row = Checkpoint(
                name=loaded.name,
                kind=loaded.kind,
                lesion_class=loaded.lesion_class,
                training_kind=loaded.training_kind,
                dataset_digest=loaded.dataset_digest,
                meta=meta,
                card=card,
                onnx_digest=Blob.store(session, onnx, "application/onnx"),
                weights_digest=Blob.store(session, weights, _SAFETENSORS),
                trust_digest=None if trust is None else Blob.store(session, trust, _SAFETENSORS),
                run_id=run_id,
                words=said,
            )
            session.add(row)
        row._keep_lesions(session, loaded, kept)
        if serve:
            row._serve(session)
        session.flush()
        Event.record(session, actor, "checkpoint registered", str(row.id), name=row.name)
        return row

    @staticmethod
    def _put_aside(session: Session, name: str, digest: str, trusted: str) -> Checkpoint | None:
        """The row of these weights and this calibration that had to give ``name`` away."""
        found = Checkpoint.named(session, _aside(name, digest, trusted))
        if found is None or (found.onnx_digest, found._trusted_by) != (digest, trusted):
            return None
        return found

    @property
    def _trusted_by(self) -> str:
        return _trusted_by(self.meta, self.trust_digest)

    @property
    def version(self) -> str:
        """What answers, as ``version_of``."""
        return files.version_of(self.onnx_digest, self._trusted_by)

    def _keep_lesions(self, session: Session, loaded: files.Checkpoint, data: bytes | None) -> None:
        """Take in the lesions of its data set, also of a row that was made without them.

        ``meta`` names the file by its digest, as a folder does.
        """
        if data is None or loaded.lesions is None:
            return
        digest = Blob.store(session, data, _SAFETENSORS)
        if not self.keeps_lesions:
            digests = {**self.meta["digests"], files.LESIONS_FILE: digest}
            self.meta = {**self.meta, "lesions": to_json(loaded.lesions), "digests": digests}

    def _serve(self, session: Session) -> None:
        highest = session.scalar(sa.select(sa.func.max(Checkpoint.served_number)))
        self.served_since, self.served_number = now(), (highest or 0) + 1

    def may_be_changed_by(self, user: User) -> bool:
        """Whether ``user`` may say what is served: the run's owner, or an administrator."""
        return user.may("admin") or (self.run is not None and self.run.may_be_changed_by(user))

    @property
    def generator(self) -> str:
        """The generator that it belongs to, by name.

        A generator of one class per checkpoint is one generator: its checkpoints are named alike
        but for the class, and to compare them with each other would compare classes.
        """
        ending = f"-{self.lesion_class}"
        plain, _, retired = self.name.partition("@")
        if self.lesion_class and plain.endswith(ending):
            plain = plain.removesuffix(ending)
        return f"{plain}@{retired}" if retired else plain

    @property
    def decided_by(self) -> str:
        """Who may say whether it is served, in a sentence."""
        return self._left_to("say whether it is served")

    def _left_to(self, act: str) -> str:
        """Who may do something, in a sentence; of what `may_be_changed_by` allows."""
        if self.run is None:
            return (
                f"{self.name} came with the software or from outside: only an administrator can "
                f"{act}."
            )
        return (
            f"{self.name} is of a run that belongs to {self.run.owner.name}: only they or an "
            f"administrator can {act}."
        )

    def refuse_stranger(self, user: User) -> None:
        """Nothing for the owner of its run and for administrators; else Forbidden."""
        if not self.may_be_changed_by(user):
            raise Forbidden(self.decided_by)

    def promote(self, session: Session, by: str, *, typed: str = "") -> None:
        """Offer it from now on; of classifiers the one promoted last scores lesions.

        Args:
            typed: the word `SERVE_WORD`, needed where something speaks against it.

        Raises:
            Unreadable: something does, and the word was not typed.
        """
        caveats = self.caveats
        if caveats and typed.strip() != SERVE_WORD:
            raise Unreadable(
                f"{self.name} is not served: {'; '.join(caveats)}. "
                f"Type {SERVE_WORD} exactly to serve it all the same."
            )
        serialise(session, _SERVED)
        self._serve(session)
        Event.record(
            session, by, "checkpoint promoted", str(self.id), name=self.name, caveats=list(caveats)
        )

    def replaced(self, session: Session) -> Checkpoint | None:
        """What does its work until it is promoted; None where nothing does, or it does already.

        Of a generator: the newest of its class and kind of image, which new reader studies take.
        """
        rows = self._of_its_work(session)
        return rows[-1] if rows and rows[-1].id != self.id else None

    def _of_its_work(self, session: Session) -> list[Checkpoint]:
        return [
            row
            for row in Checkpoint.served(session, self.kind)
            if self.kind == CheckpointKind.CLASSIFIER
            or (row.lesion_class, row.training_kind) == (self.lesion_class, self.training_kind)
        ]

    def is_at_work(self, session: Session) -> bool:
        """Whether it is the served one that new lesions, or new reader studies, get."""
        return self.served_since is not None and self.replaced(session) is None

    def retire(self, session: Session, by: str) -> None:
        """Offer it no longer; what it said stays.

        Raises:
            Conflict: it is the only classifier that is served, or its work would fall to one that
                something speaks against: that one is asked about, and promoted, first.
        """
        serialise(session, _SERVED)
        session.refresh(self)
        if self.served_since is None:  # pressed twice
            return
        if (
            self.kind == CheckpointKind.CLASSIFIER
            and len(Checkpoint.served(session, CheckpointKind.CLASSIFIER)) == 1
        ):
            raise Conflict(
                "This is the only classifier that is served; promote another one first.",
                next={"url": "/checkpoints", "label": "To the checkpoints"},
            )
        heirs = [row for row in self._of_its_work(session) if row.id != self.id]
        if self.is_at_work(session) and heirs and heirs[-1].caveats:
            heir = heirs[-1]
            raise Conflict(
                f"{self.name} is still served: its work would fall to {heir.name}, and against "
                f"that one speaks: {'; '.join(heir.caveats)}. Promote the one that is to do the "
                f"work first, then retire {self.name}.",
                next={
                    "url": f"/checkpoints/{heir.name}/promotion",
                    "label": f"Serve {heir.name} …",
                },
            )
        self.served_since = self.served_number = None
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
        """The checkpoint of that name; None when there is none."""
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
    def served(session: Session, kind: CheckpointKind) -> list[Checkpoint]:
        """The checkpoints that are offered, the longest served first."""
        return list(
            session.scalars(
                sa.select(Checkpoint)
                .where(Checkpoint.kind == kind, Checkpoint.served_since.is_not(None))
                .order_by(Checkpoint.served_number, Checkpoint.served_since, Checkpoint.name)
            )
        )

    @staticmethod
    def classifier(session: Session) -> Checkpoint:
        """The classifier that scores lesions: the one put to serve last.

        Raises:
            NotFound: none is served.
        """
        rows = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
        if not rows:
            raise NotFound(
                "No classifier is served. Run `python -m app serve` once to register the shipped "
                "checkpoints, or promote one of a run."
            )
        return rows[-1]

    @staticmethod
    def scheme_for_review(session: Session) -> LesionScheme:
        """The scheme that lesions are reviewed by: the served classifier's, else the liver's."""
        rows = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
        return rows[-1].scheme if rows else LIVER

    @property
    def scheme(self) -> LesionScheme:
        """The classes that it names or draws, in the order of its outputs."""
        return LesionScheme.from_dict(self.meta["scheme"])

    @property
    def window_hu(self) -> tuple[float, float]:
        """(low, high) in HU, which it maps to [−1, 1] on images with HU."""
        low, high = self.meta["window_hu"]
        return float(low), float(high)

    @property
    def window_words(self) -> str:
        """The same for people: ``−150 to 250 HU``."""
        return roi.window_words(self.window_hu)

    @property
    def grey_range(self) -> greys.Chosen | None:
        """The grey values that it maps to [−1, 1], of images without HU; None: all of them."""
        return greys.read(self.meta.get("grey_range"))

    def grey_range_of(self, dtype: str) -> greys.Chosen | None:
        """``grey_range`` for images of a type that can hold it; those of another it does not score,
        and they are shown over all their grey values."""
        ends = self.grey_range
        if isinstance(ends, tuple) and ends[1] > np.iinfo(dtype).max:
            return None
        return ends

    @property
    def file(self) -> files.Checkpoint:
        """The checkpoint in the form that ``ml`` works on."""
        return files.Checkpoint.from_dict(self.meta)

    @property
    def limits(self) -> str:
        """One line on what stands behind it: preset, training, what was measured on how many."""
        return self.file.limits

    def limits_of(self, *, calibrated: bool) -> str:
        """The same beside one of its numbers, which is calibrated or is not."""
        return self.file.limits_of(calibrated=calibrated)

    @property
    def preset(self) -> str:
        """The named settings that trained it; "" for others."""
        return str(self.meta.get("preset") or config.preset_of(self.meta.get("config", {})))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What speaks against serving it."""
        return self.file.caveats

    @property
    def standing(self) -> dict[str, str]:
        """What there is to weigh before it is served: term → words."""
        told = self.file
        counts = told.trained_on
        named = f"{told.dataset_name or 'unnamed'}, {files.KINDS_SAID[self.training_kind]}"
        found = {
            "Preset": told.preset or "settings of its own",
            "Data set": named,
            "Trained on": f"{counts[0]} lesions of {counts[1]} patients" if counts else "not known",
        }
        if self.kind == CheckpointKind.GENERATOR:
            return {**found, "Draws": self.scheme.display(self.lesion_class or "")}
        return {
            **found,
            "Measured": told.measured,
            "Classes": ", ".join(item.display for item in self.scheme.classes),
        }

    # -- its card ------------------------------------------------------------------------------

    def made_card(self, session: Session) -> Card:
        """The model card as this version makes it: an older one may claim too much.

        Raises:
            CheckpointError: it was described by a version that this one does not know.
        """
        made = making.card(self.file, self.owners_words, self._network(session))
        return dataclasses.replace(made, name=self.name)

    def _network(self, session: Session) -> network.Network | None:
        of = (self.onnx_digest, self.weights_digest)
        if of not in _NETWORKS:
            try:
                _NETWORKS[of] = network.of(self.onnx(session), self.weights(session))
            except (Damaged, files.CheckpointError):
                return None
        return _NETWORKS[of]

    @property
    def owners_words(self) -> OwnersWords:
        """What its owner typed for the card."""
        return owners.read(self.words or {})

    @property
    def words_version(self) -> str:
        """Tells whether somebody typed something else since a form was opened."""
        return hashlib.sha256(owners.dumped(self.owners_words)).hexdigest()[:16]

    def refuse_words_of(self, user: User) -> None:
        """Nothing for who may type them; else Forbidden."""
        if not self.may_be_changed_by(user):
            raise Forbidden(self._left_to("type what its card says of it"))

    def say(self, session: Session, by: User, typed: Mapping[str, Any], seen: str) -> bool:
        """Keep what the owner typed; whether it changed anything. What was there is in the event.

        Args:
            typed: every one of the owner's words by name; one that is absent is emptied.
            seen: ``words_version`` of what the person had before them.

        Raises:
            Forbidden: neither the owner of its run nor an administrator.
            WordsError: a text that cannot be kept, or a name that there is not.
            Conflict: somebody else has typed something since.
        """
        self.refuse_words_of(by)
        said = owners.read(typed)
        serialise(session, _WORDS)
        session.refresh(self)
        before, after = self.owners_words.typed, said.typed
        if before == after:
            return False
        if seen != self.words_version:
            raise Conflict(
                f"Somebody else has changed what the card of {self.name} says since this form was "
                "opened. Nothing was kept. Open the form again in another window, compare, and "
                "type yours there."
            )
        self.words = after
        changed = {
            key: {"from": before.get(key, ""), "to": after.get(key, "")}
            for key in owners.FIELDS
            if before.get(key) != after.get(key)
        }
        Event.record(
            session, by.name, "card words changed", str(self.id), name=self.name, changed=changed
        )
        return True

    def onnx(self, session: Session) -> bytes:
        """The bytes of ``model.onnx``; Damaged when they are not what was stored."""
        return Blob.read(session, self.onnx_digest)

    def weights(self, session: Session) -> dict[str, npt.NDArray[Any]]:
        """The tensors of ``weights.safetensors`` by name.

        Raises:
            Damaged: not what was stored.
            CheckpointError: not in that form.
        """
        return files.tensors_from_bytes(Blob.read(session, self.weights_digest))

    def trust(self, session: Session) -> Trust | None:
        """What a classifier's answers are made with besides its network; None: nothing.

        Raises:
            Damaged: not what was stored.
            CheckpointError: it does not belong to this checkpoint.
        """
        stored = None if self.trust_digest is None else Blob.read(session, self.trust_digest)
        return self.file.trust_of(stored)

    @property
    def keeps_lesions(self) -> bool:
        """Whether the lesions of its data set were kept with it."""
        return bool(self.meta.get("lesions"))

    @property
    def _saw(self) -> tuple[Any, ...] | None:
        """What tells which lesions it was trained on, and at what window; None: it is not known."""
        told = self.meta.get("config") or {}
        split = tuple(told.get(name) for name in ("folds", "seed", "test_fold"))
        if None in split:
            return None
        return (*split, self.window_hu, self.grey_range)

    def keeper_of_its_lesions(self, session: Session) -> Checkpoint | None:
        """A classifier that was trained on the same patients of the same data set, and keeps their
        lesions; the newest of those that there are."""
        query = (
            sa.select(Checkpoint)
            .where(
                Checkpoint.kind == CheckpointKind.CLASSIFIER,
                Checkpoint.dataset_digest == self.dataset_digest,
            )
            .order_by(Checkpoint.created_at.desc(), Checkpoint.name)
        )
        own = self._saw
        return next(
            (
                row
                for row in session.scalars(query)
                if own is not None and row._saw == own and row.keeps_lesions
            ),
            None,
        )

    @property
    def lesions_digest(self) -> str:
        """Under what the lesions of its data set are kept; "" where they were not."""
        return str(self.meta["digests"].get(files.LESIONS_FILE, "")) if self.keeps_lesions else ""

    def erase_lesions(self, session: Session, ids: Collection[str]) -> int:
        """Forget lesions of its data set that it kept to compare with; how many.

        The network stays, and what its answers are made with: of a lesion there is nothing in them
        but its part in sums over all.
        """
        kept = self.lesions(session)
        stay = [row for row, one in enumerate(kept.ids) if one not in ids]
        gone = len(kept) - len(stay)
        if not gone:
            return 0
        before = self.lesions_digest
        digests = {k: v for k, v in self.meta["digests"].items() if k != files.LESIONS_FILE}
        told = None
        if stay:
            left = kept.only(stay)
            data = files.tensors_to_bytes(left.tensors())
            digests[files.LESIONS_FILE] = Blob.store(session, data, _SAFETENSORS)
            told = to_json(left.record())
        self.meta = {**self.meta, "lesions": told, "digests": digests}
        session.flush()
        held = session.scalars(sa.select(Checkpoint).where(Checkpoint.id != self.id))
        if all(one.lesions_digest != before for one in held):
            session.execute(sa.delete(Blob).where(Blob.digest == before))
        return gone

    def lesions(self, session: Session) -> Lesions:
        """The lesions of a classifier's data set, where they were kept.

        Raises:
            Damaged: not what was stored.
            CheckpointError: they do not belong to this checkpoint, or were not kept.
        """
        return self.file.lesions_of(Blob.read(session, self.lesions_digest))
