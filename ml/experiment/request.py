"""What a run was asked for: settings, repeats, and the command; kept in RUN/config.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml import config
from ml.config import ConfigError, Experiment, Split, command, experiment, keys, named
from ml.dataset.augment import count_of
from ml.dataset.folds import folds_of, parts_told
from ml.dataset.manifest import Manifest
from ml.experiment import arms, pasted
from ml.experiment.tissue.stock import Stock
from ml.ground.records import from_json, to_json
from ml.phantom.lesions import difficulty_of
from ml.progress import RunDir

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Request:
    """What a run is asked for: settings, repeats, and the command that does it again.

    Attributes:
        kept: settings named by the command; those of a preset may be lowered to fit the data.
        capped: what was lowered.
    """

    settings: Experiment
    seeds: int
    command: str
    kept: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()

    @classmethod
    def of(cls, preset: str | None, assignments: Sequence[str], seeds: int | None) -> Request:
        """A new run; without a preset ``quick``, without seeds one.

        Raises:
            ConfigError: no such preset or setting, or an impossible number of seeds.
        """
        name, repeats = preset or "quick", 1 if seeds is None else seeds
        refuse_seeds(repeats)
        settings = experiment(name).override(assignments)
        return cls(settings, repeats, command(name, repeats, assignments), named(assignments))

    def fitted(self, manifest: Manifest) -> Request:
        """The same with a preset's sizes lowered to what the data set's views allow."""
        settings, lowered = capped(self.settings, manifest, self.seeds, self.kept)
        return replace(self, settings=settings, capped=(*self.capped, *lowered))

    def with_tissue(self, stock: Stock | None, manifest: Manifest) -> Request:
        """The same with the arm of these pasted lesions; a preset's sizes are lowered to them.

        None leaves everything as it is.
        """
        if stock is None:
            return self
        settings = replace(self.settings, tissue=stock.digest)
        settings, lowered = _capped_by(stock, settings, len(manifest.scheme), self.kept)
        words, mark, changed = self.command.partition(" --set ")
        told = f"{words} --tissue PASTED{mark}{changed}"
        return replace(self, settings=settings, command=told, capped=(*self.capped, *lowered))

    @classmethod
    def of_run(cls, folder: Path) -> Request:
        """What the run in ``folder`` was asked for.

        Raises:
            ConfigError: its ``config.json`` cannot be read.
        """
        return cls._of(_kept(folder))

    @classmethod
    def _of(cls, kept: _Kept) -> Request:
        settings = config.kept(kept.experiment)
        return cls(settings, kept.seeds, kept.command, capped=kept.capped or ())

    @classmethod
    def of_file(cls, file: Path, assignments: Sequence[str], seeds: int | None) -> Request:
        """A new run with the settings that another left in its ``config.json``.

        They are taken as they stand, on whatever data; only ``assignments`` and ``seeds`` change
        them.

        Raises:
            ConfigError: no such file, or none of a run.
        """
        if not file.is_file():
            raise ConfigError(f"{file} is no file; --config takes the config.json of a run.")
        kept = cls._of(_read(file))
        repeats = kept.seeds if seeds is None else seeds
        refuse_seeds(repeats)
        settings = kept.settings.override(assignments)
        words = f"python -m ml experiment --data DATA --out RUN --config CONFIG --seeds {repeats}"
        told = " ".join([words, "--set", *assignments] if assignments else [words])
        return cls(settings, repeats, told, tuple(keys(Experiment)))

    def on(self, manifest: Manifest) -> Request:
        """The same; says so where the settings do not keep to a split that the data set names."""
        told = parts_told(manifest)
        if told is None or self.settings.split == Split.GIVEN:
            return self
        words = (
            f"split={self.settings.split}: the data set names {len(told['test'])} lesions that "
            "test, and these settings train on them in other folds; --set split=given keeps to it"
        )
        return replace(self, capped=(*self.capped, words))

    @classmethod
    def again(
        cls,
        folder: Path,
        preset: str | None,
        assignments: Sequence[str],
        seeds: int | None,
        manifest: Manifest,
        stock: Stock | None = None,
    ) -> Request:
        """What the run in ``folder`` was asked for; nothing else may be asked of it.

        Args:
            stock: pasted lesions that are given again; whether they are the run's, its plan says.

        Raises:
            ConfigError: no run there, or other settings asked of it.
        """
        if not (folder / "config.json").exists():
            raise ConfigError(f"{folder} holds no run to resume; start it without --resume.")
        kept = cls.of_run(folder)
        if preset:
            begun = cls.of(preset, assignments, kept.seeds).with_tissue(stock, manifest)
            asked = begun.fitted(manifest).settings
        else:
            asked = kept.settings.override(assignments)
        if asked != kept.settings or seeds not in (None, kept.seeds):
            raise ConfigError(
                f"The run in {folder} has other settings; resume it without --preset, --set and "
                "--seeds."
            )
        if stock is not None and not kept.settings.tissue:
            raise ConfigError(
                f"The run in {folder} was begun without pasted lesions; leave --tissue out, or "
                "begin another run."
            )
        return kept


def refuse_seeds(seeds: int) -> None:
    """ConfigError for a number of repeats that cannot be."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"{seeds} seeds: give at least one, at most {MOST_SEEDS}.")


@dataclass(frozen=True)
class _Kept:
    """``config.json``; ``capped`` is None in those of the first runs."""

    experiment: Mapping[str, Any]
    digest: str
    seeds: int
    command: str
    capped: tuple[str, ...] | None = None


def keep(
    run_dir: RunDir,
    settings: Experiment,
    manifest: Manifest,
    seeds: int,
    command: str,
    capped: Sequence[str],
) -> None:
    """Write ``config.json``: from then on the folder is this run's."""
    kept = _Kept(settings.dump(), manifest.digest, seeds, command, tuple(capped))
    run_dir.write_json("config.json", to_json(kept))


def refuse_other(folder: Path, settings: Experiment, manifest: Manifest) -> None:
    """ConfigError where ``folder`` holds a run with other settings or another data set."""
    if (folder / "config.json").exists():
        kept = _kept(folder)
        if (config.kept(kept.experiment), kept.digest) != (settings, manifest.digest):
            raise ConfigError(
                f"{folder} holds a run with other settings or another data set; "
                "give a new folder with --out."
            )


def digest_of(folder: Path) -> str:
    """The digest of the data set that the run in ``folder`` is of; ConfigError as ``of_run``."""
    return _kept(folder).digest


def _kept(folder: Path) -> _Kept:
    return _read(folder / "config.json")


def _read(file: Path) -> _Kept:
    try:
        return from_json(_Kept, RunDir(file.parent).read_json(file.name))
    except ValueError as error:
        raise ConfigError(
            f"{file} is damaged, or of another program ({error}); begin in another folder."
        ) from error


# -- sizes that a data set allows ------------------------------------------------------------------


def capped(
    settings: Experiment, manifest: Manifest, seeds: int, kept: Collection[str] = ()
) -> tuple[Experiment, tuple[str, ...]]:
    """Settings that the data set allows, and one sentence for each that was changed.

    Sizes are lowered to what its views give; a split that it names is taken, and so is the
    difficulty of its phantoms for the fresh ones; where that is not known, their version's.

    Args:
        kept: names of settings that somebody asked for: they stay, to be refused if impossible.
    """
    told_by_data: tuple[str, ...] = ()
    own = None if manifest.phantom is None else difficulty_of(manifest.phantom, manifest.difficulty)
    if "difficulty" not in kept and own is not None and own != settings.difficulty:
        why = (
            f"what phantom {manifest.phantom} is calibrated at, since that of the data set's "
            "phantoms is not known"
            if manifest.difficulty is None
            else "that of the data set's phantoms"
        )
        told_by_data = (f"difficulty={own:g}, not {settings.difficulty:g}: {why}",)
        settings = replace(settings, difficulty=own)
    if "split" not in kept and (told := parts_told(manifest)) is not None:
        settings, test = replace(settings, split=Split.GIVEN), told["test"]
        told_by_data += (
            f"split={Split.GIVEN}, not {Split.FOLDS}: the data set names {len(test)} lesions of "
            f"{len(test.patients)} patients that test, and nothing is trained or chosen on them",
        )
    classes = len(manifest.scheme)
    least = min((count_of(line, settings.augment) for line in manifest.lines), default=0)
    lesions = min(
        len(fold.train)
        for seed in range(settings.seed, settings.seed + seeds)
        for fold in folds_of(manifest, settings, seed)
    )
    most = least * lesions // (settings.folds - 1)
    if arms.most_classic(settings, classes) <= most:
        return settings, told_by_data
    lowered = settings
    if "classic" not in kept:
        lowered = replace(lowered, classic=_at_most(settings.classic, most))
    if "base" not in kept:
        # synthetic ROIs stand beside it, and equal-compute replaces them by classic ones
        room = int(most / (1 + max(1, *settings.shares, 0)))
        lowered = replace(lowered, base=max(1, min(settings.base, room)))
    if "synthetic" not in kept and not settings.shares:
        room = (most - lowered.base) // classes
        lowered = replace(lowered, synthetic=_at_most(settings.synthetic, max(1, room)))
    words = tuple(
        f"{name}={_spoken(getattr(lowered, name))}, not {_spoken(getattr(settings, name))}: "
        f"{lesions} training lesions with {least} views each give {most} classic ROIs per fold"
        for name in ("classic", "base", "synthetic")
        if getattr(lowered, name) != getattr(settings, name)
    )
    return lowered, (*told_by_data, *words)


def _capped_by(
    stock: Stock, settings: Experiment, classes: int, kept: Collection[str]
) -> tuple[Experiment, tuple[str, ...]]:
    """Sizes of synthetic ROIs that are pasted of each class, and a sentence where one was lowered.

    All arms keep the same sizes, so that they can be compared.
    """
    room = stock.fewest // (settings.folds - 1)
    fits = pasted.needed(settings, classes) <= stock.fewest
    if fits or not room or "synthetic" in kept or settings.shares:
        return settings, ()
    lowered = replace(settings, synthetic=_at_most(settings.synthetic, room))
    return lowered, (
        f"synthetic={_spoken(lowered.synthetic)}, not {_spoken(settings.synthetic)}: "
        f"{stock.fewest} pasted lesions of the rarest class give {room} per training fold",
    )


def _at_most(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    return tuple(sorted({min(size, max(1, most)) for size in sizes}))


def _spoken(sizes: int | Sequence[int]) -> str:
    return str(sizes) if isinstance(sizes, int) else "+".join(map(str, sizes))
