"""Which subgroups are told: words as they are, many numbers as halves, nothing all alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ml.experiment.subgroups import groups_of
from tests.ml.discs import data_set


def test_groups_are_told_by_their_values_and_numbers_by_halves(tmp_path: Path) -> None:
    lines = data_set(tmp_path / "data", patients=12, each=1).lines
    named = [
        replace(
            line,
            groups={
                "site": "AB"[i % 2],
                "age": str(40 + i),
                "sex": "" if i == 3 else "f",
                "phase": "portal",
                "folder": f"f{i}",
            },
        )
        for i, line in enumerate(lines)
    ]
    groups, left_out = groups_of(named)
    assert set(groups) == {"age", "sex", "site", "size by box, mm"}
    assert left_out == ("folder",)
    assert groups["site"] == ["A", "B"] * 6
    assert groups["sex"].count("not given") == 1
    assert groups["age"] == ["to 45.5"] * 6 + ["over 45.5"] * 6
    halves = sorted(set(groups["size by box, mm"]))
    assert [half.split()[0] for half in halves] == ["over", "to"]


def test_a_data_set_without_groups_and_sizes_has_no_subgroups(tmp_path: Path) -> None:
    lines = data_set(tmp_path / "data", patients=8, each=1).lines
    assert groups_of([replace(line, spacing_mm=None) for line in lines]) == ({}, ())
