"""The lesions of a data set beside its network: the same after the way through a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import kept_lesions
import trust_lesions
from ml.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointError,
    tensors_from_bytes,
    tensors_to_bytes,
)
from ml.ground.records import from_json, to_json
from ml.images.roi import from_png
from ml.trust.evidence import TrustError
from ml.trust.lesions import VERSION, Lesions, LesionsRecord, read_record
from ml.trust.similar import Space


@pytest.fixture(scope="module")
def kept() -> Lesions:
    return kept_lesions.lesions()


def test_what_was_kept_is_read_again(kept):
    told = from_json(LesionsRecord, to_json(kept.record()))
    assert told == kept.record()
    again = Lesions.read(told, tensors_from_bytes(tensors_to_bytes(kept.tensors())), kept.classes)
    assert (again.ids, again.patients, again.pictures) == (kept.ids, kept.patients, kept.pictures)
    for name in ("labels", "trained", "features", "said"):
        assert np.array_equal(getattr(again, name), getattr(kept, name))
    assert again.measured.of == kept.measured.of
    assert np.allclose(again.measured.values, kept.measured.values, rtol=1e-6, equal_nan=True)
    assert from_png(again.pictures[3]).shape == (64, 64)


def test_of_patients_there_are_numbers_and_no_pictures_in_the_file(kept):
    bare = kept_lesions.without_pictures(kept)
    data = tensors_to_bytes(bare.tensors())
    assert b"PHANTOM" not in data and b"PNG" not in data
    again = Lesions.read(bare.record(), tensors_from_bytes(data), kept.classes)
    assert again.pictures == () and "not kept with a checkpoint" in again.no_pictures


def test_half_precision_keeps_the_order_of_neighbours(kept):
    rois = trust_lesions.lesions(8).rois
    exact = kept_lesions.network().outputs(rois).features.astype(np.float64)
    space = Space.of(kept)
    changed = 0
    for row in range(len(kept)):
        others = np.arange(len(kept)) != row
        near = [one.row for one in space.nearest(exact[row], others, len(kept) - 1)]
        away = np.linalg.norm(exact - exact[row], axis=1)
        # what changes place lies as far away as its neighbour, to a thousandth
        ordered = away[near]
        changed += int((np.diff(ordered) < -1e-3 * ordered[:-1]).sum())
    assert changed == 0


def test_the_surest_mistake_comes_first_and_all_are_counted(kept):
    wrong = [kept.mistake(int(row)) for row in kept.wrong]
    assert len(wrong) == 4 == kept.record().n_wrong
    assert [one.p_said for one in wrong] == sorted((one.p_said for one in wrong), reverse=True)
    assert all(one.truth != one.said and one.p_said > one.p_truth for one in wrong)
    counted = {(one.truth, one.said): one.n_lesions for one in kept.record().mixed}
    assert sum(counted.values()) == 4
    assert kept.record().surest == tuple(wrong)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"patients": ("one",)}, "not of the same lesions"),
        ({"pictures": ()}, "not of the same lesions"),
        ({"no_pictures": "why not"}, "not of the same lesions"),
        ({"ids": ("0001",) * 24}, "have one id"),
        ({"labels": np.full(24, 3)}, "no class of the scheme"),
        ({"said": np.full((24, 3), 1.5, np.float32)}, "no probability"),
        ({"features": np.full((24, 256), np.inf, np.float16)}, "half precision"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(kept, changed, words):
    with pytest.raises(TrustError, match=words):
        replace(kept, **changed)


@pytest.mark.parametrize("name", ["names", "features", "said", "pictures", "measured"])
def test_a_damaged_file_is_refused_by_the_checkpoint_s_name(kept, name, tmp_path):
    folder = kept_lesions.saved(tmp_path / "kept", kept)
    meta = Checkpoint.load(folder)
    tensors = tensors_from_bytes(meta.lesions_bytes())
    for damaged in (
        {key: one for key, one in tensors.items() if key != name},
        {**tensors, name: tensors[name][: len(tensors[name]) // 2].copy()},
    ):
        if name == "pictures" and name in damaged:
            continue  # bytes that are cut short make other pictures: the digest tells them
        with pytest.raises(CheckpointError, match="phantom-kept"):
            meta.lesions_of(tensors_to_bytes(damaged))


def test_a_file_that_was_changed_since_is_refused(kept, tmp_path):
    folder = kept_lesions.saved(tmp_path / "kept", kept)
    (folder / "lesions.safetensors").write_bytes(b"another")
    with pytest.raises(CheckpointError, match="is not the file that was trained"):
        Checkpoint.load(folder).lesions_bytes()


def test_the_lesions_of_another_checkpoint_are_refused(kept, tmp_path):
    meta = Checkpoint.load(kept_lesions.saved(tmp_path / "kept", kept))
    other = kept_lesions.lesions(each=9)
    with pytest.raises(CheckpointError, match="not those of the checkpoint's record"):
        meta.lesions_of(tensors_to_bytes(other.tensors()))


def test_a_record_of_another_version_is_refused(kept):
    with pytest.raises(TrustError, match="Version 99"):
        read_record({**to_json(kept.record()), "version": 99})
    assert read_record(to_json(kept.record())).version == VERSION


def test_a_checkpoint_without_them_says_so(tmp_path):
    meta = Checkpoint.load(kept_lesions.saved(tmp_path / "bare", None))
    assert meta.lesions is None and meta.lesions_bytes() is None
    with pytest.raises(CheckpointError, match="keeps no lesions"):
        meta.lesions_of(b"")
