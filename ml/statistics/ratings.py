"""The ratings of several readers of the same cases, as one block of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.statistics.proportion import ReadersError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rating:
    """One reader's score of one case under one treatment; truth 1 = signal (synthetic)."""

    reader: str
    treatment: str
    case: str
    truth: int
    score: float


@dataclass(frozen=True)
class Ratings:
    """``truth`` (n,) of 0 and 1; ``scores`` (treatments, readers, n), NaN where not read.

    ``clusters`` (n,) labels cases that belong together, such as ROIs of one patient.
    """

    readers: tuple[str, ...]
    treatments: tuple[str, ...]
    cases: tuple[str, ...]
    truth: NDArray[np.int64]
    scores: Floats
    clusters: tuple[str, ...] | None = None

    @classmethod
    def of(cls, rows: Iterable[Rating], clusters: dict[str, str] | None = None) -> Ratings:
        """Names in order of first appearance.

        Raises:
            ReadersError: no row, a rating given twice, two truths for one case, or a score or
                truth that is no number of its kind.
        """
        readers: dict[str, int] = {}
        treatments: dict[str, int] = {}
        cases: dict[str, int] = {}
        truth: list[int] = []
        cells: dict[tuple[int, int, int], float] = {}
        for row in rows:
            if row.truth not in (0, 1):
                raise ReadersError(f"Case {row.case}: truth must be 0 or 1, not {row.truth}.")
            if not np.isfinite(row.score):
                raise ReadersError(f"Case {row.case}, reader {row.reader}: no finite rating.")
            k = cases.setdefault(row.case, len(cases))
            if k == len(truth):
                truth.append(row.truth)
            elif truth[k] != row.truth:
                raise ReadersError(f"Case {row.case} has truth 0 in one row and 1 in another.")
            i = treatments.setdefault(row.treatment, len(treatments))
            j = readers.setdefault(row.reader, len(readers))
            if (i, j, k) in cells:
                raise ReadersError(
                    f"Reader {row.reader} rated case {row.case} twice under treatment "
                    f"{row.treatment}; keep the first reading, repeats belong in another file."
                )
            cells[i, j, k] = row.score
        if not cells:
            raise ReadersError("There is no rating.")
        scores = np.full((len(treatments), len(readers), len(cases)), np.nan)
        for index, score in cells.items():
            scores[index] = score
        labels = None if clusters is None else tuple(clusters.get(case, case) for case in cases)
        return cls(
            tuple(readers),
            tuple(treatments),
            tuple(cases),
            np.array(truth, dtype=np.int64),
            scores,
            labels,
        )

    @property
    def of_one_patient(self) -> tuple[tuple[str, ...], ...]:
        """The cases of each patient who has several."""
        of: dict[str, list[str]] = {}
        for case, label in zip(self.cases, self.clusters or (), strict=False):
            of.setdefault(label, []).append(case)
        return tuple(tuple(cases) for cases in of.values() if len(cases) > 1)

    @property
    def complete(self) -> bool:
        """Every reader rated every case under every treatment."""
        return bool(np.isfinite(self.scores).all())

    def only(self, treatment: str) -> Ratings:
        """One treatment, with the cases that anyone read under it; ValueError for another."""
        i = self.treatments.index(treatment)
        scores = self.scores[i : i + 1]
        kept: NDArray[np.bool_] = np.asarray(np.isfinite(scores).any(axis=(0, 1)))
        return replace(
            self,
            treatments=(treatment,),
            cases=tuple(c for c, keep in zip(self.cases, kept, strict=True) if keep),
            truth=self.truth[kept],
            scores=scores[:, :, kept],
            clusters=None
            if self.clusters is None
            else tuple(c for c, keep in zip(self.clusters, kept, strict=True) if keep),
        )

    def whole_readers(self) -> tuple[Ratings | None, tuple[str, ...]]:
        """The block of those who rated every case under every treatment, and who did not.

        None where nobody did.
        """
        whole = np.isfinite(self.scores).all(axis=(0, 2))
        names = np.array(self.readers)
        left_out = tuple(str(name) for name in names[~whole])
        if not whole.any():
            return None, left_out
        readers = tuple(str(name) for name in names[whole])
        return replace(self, readers=readers, scores=self.scores[:, whole]), left_out

    def lacking(self, fewest: int) -> tuple[str, ...]:
        """Readers with fewer than so many cases of a class under one of the treatments."""
        out = []
        for j, reader in enumerate(self.readers):
            truths = [self.cell(i, j)[0] for i in range(len(self.treatments))]
            if any(min(int(t.sum()), int(len(t) - t.sum())) < fewest for t in truths):
                out.append(reader)
        return tuple(out)

    def sparse(self) -> tuple[str, ...]:
        """Readers with fewer than two cases, of two patients, under one of the treatments.

        Of those nothing is left where a patient is left out.
        """
        labels = np.array(self.cases if self.clusters is None else self.clusters)
        read = np.isfinite(self.scores)
        return tuple(
            reader
            for j, reader in enumerate(self.readers)
            if any(len(set(labels[read[i, j]])) < 2 for i in range(len(self.treatments)))
        )

    def without(self, readers: Sequence[str]) -> Ratings:
        """The ratings of the other readers; cases that nobody else rated are left out as well.

        Raises:
            ReadersError: nobody is left.
        """
        stay = [j for j, reader in enumerate(self.readers) if reader not in readers]
        if len(stay) == len(self.readers):
            return self
        if not stay:
            raise ReadersError("No reader is left.")
        scores = self.scores[:, stay]
        kept = np.flatnonzero(np.isfinite(scores).any(axis=(0, 1)))
        return replace(
            self,
            readers=tuple(self.readers[j] for j in stay),
            cases=tuple(self.cases[k] for k in kept),
            truth=self.truth[kept],
            scores=scores[:, :, kept],
            clusters=None if self.clusters is None else tuple(self.clusters[k] for k in kept),
        )

    def given_by(self, reader: int) -> Floats:
        """Every rating of one reader, by their position: one per case, of its first treatment."""
        mine = self.scores[:, reader]
        rated = np.isfinite(mine)
        kept = rated.any(axis=0)
        return np.asarray(mine[rated.argmax(axis=0), np.arange(mine.shape[1])][kept])

    def rows(self) -> Iterable[Rating]:
        """Every rating given, treatment by treatment, reader by reader."""
        for i, treatment in enumerate(self.treatments):
            for j, reader in enumerate(self.readers):
                for k, case in enumerate(self.cases):
                    if np.isfinite(self.scores[i, j, k]):
                        score = float(self.scores[i, j, k])
                        yield Rating(reader, treatment, case, int(self.truth[k]), score)

    def cell(
        self, treatment: int, reader: int
    ) -> tuple[NDArray[np.int64], Floats, NDArray[np.intp]]:
        """What one reader rated under one treatment, by their positions: m ≤ n cases.

        Returns:
            Truth (m,) of 0 and 1; scores (m,), finite; the positions (m,) of those cases among all
            n. All three are empty where nothing was rated.
        """
        kept = np.flatnonzero(np.isfinite(self.scores[treatment, reader]))
        return self.truth[kept], self.scores[treatment, reader, kept], kept
