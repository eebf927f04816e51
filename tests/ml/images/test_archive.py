"""Zips are hostile; a file in one is taken or refused by itself."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from ml.images import archive
from ml.images.archive import ArchiveError, Member, unpack


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def members(data: bytes, max_files: int = 100, max_bytes: int = 10**9) -> dict[str, Member]:
    found = unpack(data, "x.zip", max_files=max_files, max_bytes=max_bytes)
    return {member.name: member for member in found}


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return data.replace(old, new)


GOOD = {"a.dcm": b"first", "b.dcm": b"second"}


@pytest.mark.parametrize(
    "bad",
    ["../../etc/passwd", "/etc/passwd", "C:/windows/x", "..\\x", "nul\0name"],
)
def test_a_bad_name_costs_its_file_alone(bad: str) -> None:
    found = members(packed({"a.dcm": b"first", bad: b"bad", "b.dcm": b"second"}))
    assert found["a.dcm"].content == b"first"
    assert found["b.dcm"].content == b"second"
    (other,) = (member for name, member in found.items() if name not in GOOD)
    assert other.refusal == "" or "x.zip" in other.refusal


@pytest.mark.parametrize("new", [b"\0\0\0\0\0\0", b"......", b"//////", b"./././"])
def test_names_that_are_no_names_never_end_in_another_error(new: bytes) -> None:
    data = renamed(packed({"a.dcm": b"first", "middle": b"odd", "b.dcm": b"x"}), b"middle", new)
    found = members(data)
    assert found["a.dcm"].content == b"first"
    assert found["b.dcm"].content == b"x"


def test_an_entry_without_a_name_costs_nothing() -> None:
    data = packed({"a.dcm": b"first", "": b"nameless", ".": b"dot"})
    assert members(data)["a.dcm"].content == b"first"


def test_a_name_that_claims_to_be_utf8_and_is_not_costs_nothing() -> None:
    data = renamed(packed({"a.dcm": b"first", "grün.dcm": b"second"}), "ü".encode(), b"\xff\xfe")
    found = members(data)
    assert found["a.dcm"].content == b"first"
    assert sorted(member.content for member in found.values()) == [b"first", b"second"]


def test_a_damaged_file_costs_its_file_alone() -> None:
    data = bytearray(packed({"a.dcm": b"first" * 100, "b.dcm": b"second" * 100}))
    at = data.index(b"a.dcm") + 8
    data[at] ^= 0xFF
    found = members(bytes(data))
    assert "damaged" in found["a.dcm"].refusal
    assert found["b.dcm"].content == b"second" * 100


def test_a_bomb_and_what_goes_beyond_the_limit_are_refused_file_by_file() -> None:
    data = packed({"a.dcm": b"first", "bomb.dcm": bytes(300_000_000), "b.dcm": b"second"})
    found = members(data)
    assert "zip bomb" in found["bomb.dcm"].refusal
    assert found["b.dcm"].content == b"second"
    found = members(packed({"a.dcm": b"1" * 60, "b.dcm": b"2" * 60}), max_bytes=100)
    assert found["a.dcm"].content == b"1" * 60
    assert "more than" in found["b.dcm"].refusal


def test_entries_that_share_their_bytes_are_read_once() -> None:
    data = packed({"a.dcm": b"0123456789" * 50})
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", data, end + 16)[0]
    entry = data[start:end]
    many = data[:start] + b"".join(entry.replace(b"a.dcm", f"{n:05d}".encode()) for n in range(500))
    tail = bytearray(data[end:])
    struct.pack_into("<HH", tail, 8, 500, 500)
    struct.pack_into("<II", tail, 12, 500 * len(entry), start)
    found = members(many + bytes(tail), max_files=1000)
    assert len(found) == 500
    taken = [member for member in found.values() if member.content is not None]
    assert len(taken) <= 1
    assert sum("shares its bytes" in member.refusal for member in found.values()) >= 499


def test_only_files_that_are_litter_by_their_whole_name_are_passed_over() -> None:
    found = members(
        packed(
            {
                "DICOMDIR": b"index",
                "disc/DICOMDIR": b"index",
                "DICOMDIR_export/IM0": b"slice",
                "my.DS_Store.dcm": b"slice",
                "Thumbs.db": b"litter",
                "__MACOSX/._a.dcm": b"litter",
                "a__MACOSX/b.dcm": b"slice",
            }
        )
    )
    assert {name for name, member in found.items() if member.passed_over} == {
        "DICOMDIR",
        "disc/DICOMDIR",
        "Thumbs.db",
        "__MACOSX/._a.dcm",
    }
    assert sum(member.content == b"slice" for member in found.values()) == 3


def test_too_many_files_and_a_broken_directory_are_refused_whole() -> None:
    with pytest.raises(ArchiveError, match="Split"):
        members(packed({f"{n}.dcm": b"" for n in range(5)}), max_files=4)
    for data in (packed(GOOD)[:-30], b"PK\x03\x04" + bytes(100)):
        with pytest.raises(ArchiveError, match="damaged"):
            members(data)


def test_any_damage_gives_members_or_a_refusal() -> None:
    rng = np.random.default_rng(3)
    good = packed({f"{n}.dcm": rng.bytes(50) for n in range(4)})
    outcomes = {True: 0, False: 0}
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            found = members(bytes(data))
        except ArchiveError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
            assert all(isinstance(member, Member) for member in found.values())
    assert min(outcomes.values()) > 100
    assert archive.is_zip(good)


def test_files_that_the_directory_does_not_list_are_told() -> None:
    first, second = packed({"a": b"1" * 50, "b": b"2" * 50}), packed({"c": b"3" * 50})
    with pytest.raises(ArchiveError, match="does not list"):
        members(first + second)
    for lost in (0, 1, 2):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive_:
            for name in "abc":
                archive_.writestr(name, name * 40)
            archive_.filelist.pop(lost)
        with pytest.raises(ArchiveError, match="does not list"):
            members(stream.getvalue())
    assert list(members(first + bytes(30))) == ["a", "b"]


def test_a_folder_that_holds_bytes_is_a_file() -> None:
    found = members(packed({"folder/": b"bytes", "other\\": b"", "a": b"1"}))
    assert found["folder/"].content == b"bytes"
    assert set(found) == {"folder/", "a"}
