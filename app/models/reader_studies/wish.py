"""Wishes: what is asked of a study to be, before the data are looked at."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.errors import Unreadable
from app.models.people.user import User
from app.models.reader_studies.design import Design, telling
from app.models.reader_studies.stimulus import Source
from ml.images.ct_slice import ImageKind
from ml.lesion import LesionScheme

MOST_IMAGES = 1000
"""Most images of one source in a study."""

MOST_SEED = 2**53 - 1

Asked = int | Mapping[str, int]
"""A number of images: in all, to be balanced over the classes, or per class key."""


@dataclass(frozen=True)
class Wish:
    """What a study should be composed of.

    Attributes:
        title: its name, 1 to 200 characters.
        scheme: the lesion classes.
        real, synthetic: how many images of each source, in all or per class; of preferences no
            real ones, and as many pairs.
        kind: an `ImageKind`; None: the one with enough data, when it is only one.
        generators: names of served generators; none: the newest of each class.
        chosen: synthetic images that are to be among them: generators' names → seeds.
        versions: names of the dataset versions that real images come from, with the class that was
            frozen; none: all reviewed lesions.
        seed: everything random of the study comes from it; None: drawn by `checked`.
        study_id: the id that the study gets; None: a new one.
        typed_seed: what the seed was made from, where it is `sealed`.
        without_cases: cases whose lesions are not used.
        without_lesions_of: people whose lesions are not used: those that they marked, reviewed,
            read in a reader study or, unless the design allows it, were shown elsewhere.
        design: how it is read; by default two questions and nothing else.
    """

    title: str
    scheme: LesionScheme
    real: Asked
    synthetic: Asked
    kind: ImageKind | str | None = None
    generators: Sequence[str] = ()
    chosen: Mapping[str, Sequence[int]] = field(default_factory=dict)
    versions: Sequence[str] = ()
    seed: int | None = None
    without_cases: Collection[uuid.UUID] = ()
    without_lesions_of: Sequence[User] = ()
    design: Design = field(default_factory=Design)
    study_id: uuid.UUID | None = None
    typed_seed: int | None = None

    def sealed(self, key: bytes, study_id: uuid.UUID) -> Wish:
        """With a seed that nobody can compute, in place of the one that was typed, if any was.

        It comes from the typed one, the study and the installation's key: the same number typed
        for another study, here or elsewhere, chooses and orders other images.

        Raises:
            Unreadable: a seed out of range.
        """
        if self.seed is None:
            return replace(self, study_id=study_id)
        _check_seed(self.seed)
        text = f"seed of the reader study {study_id}: {self.seed}"
        digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
        seed = int.from_bytes(digest[:8], "big") >> 11  # 53 bits: a whole number in JSON anywhere
        return replace(self, seed=seed, study_id=study_id, typed_seed=self.seed)

    def checked(self) -> Wish:
        """The wish with its texts trimmed and a seed, if it can be asked for at all.

        Raises:
            Unreadable: a title, number, kind, seed or design that cannot be, and why.
        """
        title = self.title.strip()
        if not 1 <= len(title) <= 200:
            raise Unreadable("Give the study a title of 1 to 200 characters.")
        if self.design.unaware and telling(title):
            raise Unreadable(
                f"Readers see the title in their list, and “{telling(title)}” would tell them "
                "before the time. Give the study another one (step Design)."
            )
        if self.design.task.shows_real:
            self._check_number(self.real, Source.REAL)
        elif in_all(self.real):
            raise Unreadable("No real image is shown in a study of preferences. Ask for 0.")
        self._check_number(self.synthetic, Source.SYNTHETIC)
        if self.chosen and not self.design.task.shows_real:
            raise Unreadable(
                "Two generators are compared on images that chance draws of both. Choose none by "
                "hand for a study of preferences."
            )
        for seeds in self.chosen.values():
            for one in seeds:
                _check_seed(one)
        seed = secrets.randbelow(MOST_SEED) if self.seed is None else self.seed
        _check_seed(seed)
        design = self.design.checked(self._trials())
        if self.kind and self.kind not in set(ImageKind):
            raise Unreadable(f"Choose the kind of image: {', '.join(ImageKind)}.")
        kind = ImageKind(self.kind) if self.kind else None
        return replace(self, title=title, seed=seed, design=design, kind=kind)

    def _trials(self) -> int:
        """How many images or pairs come to be read, without practice and repeats.

        Raises:
            Unreadable: pairs need as many real as synthetic images, of each class.
        """
        if not self.design.task.shows_real:
            return in_all(self.synthetic)
        if not self.design.task.is_paired:
            return in_all(self.real) + in_all(self.synthetic)
        if self.real != self.synthetic:
            raise Unreadable(
                "Each pair has a real and a synthetic image of one class: ask for as many real as "
                f"synthetic ones, not {_said(self.real)} and {_said(self.synthetic)}."
            )
        return in_all(self.real)

    def _check_number(self, asked: Asked, source: Source) -> None:
        keys = self.scheme.keys
        if isinstance(asked, Mapping) and (set(asked) != set(keys) or min(asked.values()) < 0):
            raise Unreadable(
                f"Numbers of {source} images per class are for {', '.join(asked)}; this scheme has "
                f"{', '.join(keys)}. Choose a number in all."
            )
        number = in_all(asked)
        if not 1 <= number <= MOST_IMAGES:
            raise Unreadable(f"Choose from 1 to {MOST_IMAGES} {source} images, not {number}.")


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MOST_SEED:
        raise Unreadable(f"Choose a seed from 0 to {MOST_SEED}, or leave it empty.")


def in_all(asked: Asked) -> int:
    """The sum over the classes."""
    return sum(asked.values()) if isinstance(asked, Mapping) else asked


def _said(asked: Asked) -> str:
    if isinstance(asked, Mapping):
        return ", ".join(f"{key} {count}" for key, count in asked.items())
    return str(asked)
