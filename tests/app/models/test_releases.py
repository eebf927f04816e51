"""Releases: the weights of a name change, and change back, and what they said stays theirs."""

from __future__ import annotations

import json
import shutil

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import studies
from app.db import Database
from app.models import Checkpoint, Prediction
from app.place import ROOT
from ml.ground.errors import HepaticaError
from ml.trust.answer import Said


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/releases.sqlite3")
    made.migrate()
    yield made
    made.engine.dispose()


@pytest.fixture
def releases(tmp_path, checkpoints):
    """``releases("A")``: a folder with the shipped classifier, whose file says of which release."""
    source = next(
        one for one in checkpoints if json.loads((one / "checkpoint.json").read_text())["kind"]
        == "classifier"
    )  # fmt: skip

    def folder(release: str, **trust: object):
        made = tmp_path / f"release-{release}"
        if not made.exists():
            shutil.copytree(source, made)
            onnx = made / "model.onnx"
            word = release.encode()
            # another text in the file's description: another file, the same network
            onnx.write_bytes(onnx.read_bytes() + b"\x32" + bytes([len(word)]) + word)
        if trust:
            told = json.loads((source / "checkpoint.json").read_text())
            for part, values in trust.items():
                told["trust"][part] |= values
            (made / "checkpoint.json").write_text(json.dumps(told))
        return made

    return folder


def test_up_and_down_and_up_again_serves_one_row_of_each_release(database, releases):
    ids = []
    for release in "ABABBA":
        with database.transaction() as session:
            ids.append((release, Checkpoint.register(session, releases(release), "tests").id))
        with database.reading() as session:
            [served] = Checkpoint.served(session, "classifier")
            assert served.id == ids[-1][1]
            assert "@" not in served.name
            rows = session.scalars(sa.select(Checkpoint)).all()
            assert len(rows) == len({release for release, _ in ids})
    by_release = {release: {one for name, one in ids if name == release} for release in "AB"}
    assert [len(found) for found in by_release.values()] == [1, 1]


def test_what_a_release_said_stays_its_own(database, releases):
    with database.transaction() as session:
        first = Checkpoint.register(session, releases("A"), "tests")
        [lesion] = studies.make_lesion(session, 1)
        Prediction.record(session, lesion, first, Said({"cyst": 1.0}), [])
        name = first.name
    with database.transaction() as session:
        Checkpoint.register(session, releases("B"), "tests")
    with database.reading() as session:
        [said] = Prediction.of_lesion(session, lesion.id)
        assert said.checkpoint.name.startswith(f"{name}@{said.checkpoint.onnx_digest[:8]}-")
    with database.transaction() as session:
        Checkpoint.register(session, releases("A"), "tests")
    with database.reading() as session:
        [said] = Prediction.of_lesion(session, lesion.id)
        assert (said.checkpoint.id, said.checkpoint.name) == (first.id, name)


def test_a_release_that_an_administrator_retired_stays_retired_at_the_next_start(
    database, releases
):
    with database.transaction() as session:
        first = Checkpoint.register(session, releases("A"), "tests")
        other = Checkpoint(
            name="another", kind=first.kind, training_kind=first.training_kind,
            dataset_digest=first.dataset_digest, meta=first.meta, card=first.card,
            onnx_digest=first.onnx_digest, weights_digest=first.weights_digest,
        )  # fmt: skip
        session.add(other)
        session.flush()
        other.promote(session, "boss")
        first.retire(session, "boss")
    with database.transaction() as session:
        Checkpoint.register(session, releases("A"), "tests")
    with database.reading() as session:
        assert Checkpoint.classifier(session).name == "another"
        assert len(Checkpoint.served(session, "classifier")) == 1


def test_a_release_with_another_threshold_alone_takes_over_and_gives_back(database, releases):
    """A temperature and a threshold stand in the figures: the arrays beside them are the same."""
    first, limits = releases("A"), {"A": 1.0, "B": 1.5, "C": 2.5}
    ids: dict[str, set[object]] = {}
    versions: dict[str, set[str]] = {}
    for release in "ABCABBC":
        releases("A", novelty={"threshold": limits[release]})
        with database.transaction() as session:
            row = Checkpoint.register(session, first, "tests")
            ids.setdefault(release, set()).add(row.id)
            versions.setdefault(release, set()).add(row.version)
            assert row.meta["trust"]["novelty"]["threshold"] == limits[release]
            assert [one.id for one in Checkpoint.served(session, "classifier")] == [row.id]
    assert [len(found) for found in ids.values()] == [1, 1, 1]
    # one network, three calibrations: a version each, which it keeps
    told = [version for [version] in versions.values()]
    assert len({*told}) == 3
    assert {version.partition("-")[0] for version in told} == {row.onnx_digest[:12]}


@pytest.mark.parametrize(
    "damage",
    [
        {"calibration": {"temperature": 0.0}},
        {"novelty": {"scales": [0.0, 1.0]}},
        {"opinion": {"classes": ["metastasis", "cyst", "hemangioma"]}},
        {"opinion": {"measurements": ["diameter_mm"]}},
    ],
)
def test_what_cannot_answer_takes_no_name_from_what_can(database, releases, damage):
    with database.transaction() as session:
        first = Checkpoint.register(session, releases("A"), "tests")
    with pytest.raises(HepaticaError), database.transaction() as session:
        Checkpoint.register(session, releases("B", **damage), "tests")
    with database.reading() as session:
        assert [one.id for one in Checkpoint.served(session, "classifier")] == [first.id]


def test_a_calibrated_classifier_answers_after_the_way_down_and_up(database, releases):
    with database.transaction() as session:
        Checkpoint.register(session, releases("A"), "tests")
    configuration = Config(toml_file=ROOT / "pyproject.toml")
    for move, revision in ((command.downgrade, "0024"), (command.upgrade, "head")):
        with database.engine.connect() as connection:
            configuration.attributes["connection"] = connection
            move(configuration, revision)
            connection.commit()
    with database.reading() as session:
        assert Checkpoint.classifier(session).trust(session) is not None
