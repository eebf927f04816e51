"""The fuzzer: the same damage for the same number, faults seen, and none in the first files."""

from __future__ import annotations

import argparse
import json

import pytest
import sqlalchemy as sa
from fuzz import __main__ as fuzz
from fuzz import seeds, targets

from app.models import Checkpoint
from factories import make_png

DOORS = {"reader": targets.read, "marks": targets.marks}


def asked(folder, count: int) -> argparse.Namespace:
    return argparse.Namespace(seed=1, count=count, minutes=9.0, log=folder)


def test_damaged_files_are_refused_and_a_run_goes_on_where_it_was(tmp_path):
    found = seeds.all_of_them()
    assert fuzz.run(found, DOORS, asked(tmp_path, 100)) == 0
    assert fuzz.run(found, DOORS, asked(tmp_path, 150)) == 0
    told = [json.loads(line) for line in (tmp_path / "seed-1.jsonl").read_text().splitlines()]
    assert told[-1]["done"] == 150 and told[-1]["failures"] == 0


def test_the_same_number_makes_the_same_file(tmp_path):
    found = seeds.all_of_them()
    assert [fuzz.chosen(found, DOORS, 1, n) for n in range(40)] == [
        fuzz.chosen(found, DOORS, 1, n) for n in range(40)
    ]


def test_a_fault_is_told_and_its_file_kept(tmp_path):
    def broken(data: bytes) -> str:
        return str(1 / (data[0] % 2))

    assert fuzz.run([("a", b"\0" * 64)], {"broken": broken}, asked(tmp_path, 5)) == 1
    told = [json.loads(line) for line in (tmp_path / "seed-1.jsonl").read_text().splitlines()]
    assert "ZeroDivisionError" in told[0]["fault"]
    assert (tmp_path / f"seed-1-{told[0]['failed']}.bin").exists()


def test_what_ended_the_process_twice_is_not_tried_again(tmp_path):
    for _ in range(2):
        log = fuzz.Log(tmp_path / "seed-1.jsonl")
        assert log.next == 0
        log.begin(0)
    log = fuzz.Log(tmp_path / "seed-1.jsonl")
    assert (log.next, log.failures) == (1, 1)


@pytest.mark.long
def test_the_api_answers_as_its_description_says(client, token, database):
    from fuzz.calls import Asking

    with database.reading() as session:
        names = list(session.scalars(sa.select(Checkpoint.name)))
    known = {"name": names, "checkpoint": names, "job_id": [], "image": [make_png()]}
    asking = Asking(client, [token, token, token, ""], known)
    told = asking.run(32, seed=1)
    assert told.calls == 32
    assert told.faults == {}
    assert {200, 401} < set(told.statuses)
    assert len(told.reached) == 17


def test_an_answer_that_the_description_does_not_tell_of_is_a_fault(client, token):
    from fuzz.calls import Asking

    described = client.get("/openapi.json").json()
    [path] = [one for one in described["paths"] if one.endswith("/info")]
    operation = described["paths"][path]["get"]
    del operation["responses"]["401"]
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "integer"}
    asking = Asking(client, [token, ""], {})
    faults = asking.of({**described, "paths": {path: {"get": operation}}}, 8, 1).faults
    assert any("401" in one and "Undocumented" in one for one in faults)
    assert any("200" in one and "schema" in one for one in faults)
