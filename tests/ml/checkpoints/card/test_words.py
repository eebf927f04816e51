"""What an owner types is kept as it was typed, or refused with what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.checkpoints.card import words
from ml.checkpoints.card.words import FIELDS, MOST, OwnersWords, WordsError


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"funding": "a\x00b"}, r"Funding holds a character .*U\+0000, the 2. one"),
        ({"funding": "a\x1b[2J"}, r"U\+001B"),
        ({"users": "\ud800"}, r"U\+D800"),
        ({"users": "\uffff"}, r"U\+FFFF"),
        ({"users": "100 % \u202e% 17"}, r"U\+202E"),
        ({"risks": "x" * (MOST + 1)}, "4,001 characters; at most 4,000"),
        ({"risks": "x" * 100_000}, "100,000 characters"),
        ({"released": "yesterday"}, "no date of the calendar"),
        ({"released": "2026-02-30"}, "no date of the calendar"),
        ({"founding": "me"}, "nothing called 'founding'.*nearest is 'funding'"),
        ({"funding": 3}, "Funding .funding. must be a text in quotation marks, not a int"),
        ({"funding": None}, "must be a text"),
        ({7: "x"}, "nothing called '7'"),
        ([], "names with texts, not a list"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words(typed, told) -> None:
    with pytest.raises(WordsError, match=told):
        words.read(typed)


def test_a_refusal_names_the_field_for_the_form() -> None:
    with pytest.raises(WordsError) as refusal:
        words.read({"users": "\x00"})
    assert refusal.value.field == "users"


def test_markup_and_other_letters_are_kept_as_typed() -> None:
    typed = "  <b>Köln</b> & Æ ☢\r\n\r\nsecond\u2028line\t1  "
    said = words.read({"developer": typed, "funding": ""})
    assert said.developer == "<b>Köln</b> & Æ ☢\n\nsecond\nline\t1"
    assert said.typed == {"developer": said.developer}
    assert words.read(json.loads(words.dumped(said))) == said


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("w.json", '{"funding": "a", "funding": "b"}', "holds 'funding' twice"),
        ("w.toml", 'funding = "a"\nfunding = "b"', "is not TOML"),
        ("w.json", "{", "is not JSON in UTF-8"),
        ("w.json", '{"a":' * 100_000, "is not JSON in UTF-8"),
        ("w.json", b"\xff\xfe", "is not JSON in UTF-8"),
        ("w.json", " " * 1_000_001, "larger than 1,000,000 bytes"),
        ("w.json", '{"funding": "\\u0000"}', r"U\+0000"),
        ("w.json", "[]", "not a list"),
        ("w.toml", "funding = 2026-01-01", "must be a text"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_name(
    tmp_path: Path, name: str, text: str | bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WordsError, match=told) as refusal:
        words.load(path)
    assert str(path) in str(refusal.value)


def test_files_that_are_not_there_or_are_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(WordsError, match="cannot be read"):
            words.load(path)
    assert words.beside(tmp_path) == OwnersWords()


def test_every_word_has_a_label_and_a_hint() -> None:
    for field in FIELDS.values():
        assert field["label"] and field["hint"].endswith(".") and field["rows"] in (1, 2, 3)
