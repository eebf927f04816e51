"""The fuzzer: the same damage for the same number, faults seen, and none in the first files."""

from __future__ import annotations

import argparse
import json

from fuzz import __main__ as fuzz
from fuzz import seeds, targets

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
