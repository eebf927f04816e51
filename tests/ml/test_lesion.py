"""Lesion schemes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.lesion import LIVER, Code, LesionClass, LesionScheme, SchemeError

TWO = {"name": "nodules", "classes": [{"key": "solid"}, {"key": "sub_solid", "display": "part"}]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "x", "classes": []}, "0 class"),
        ({"name": "x", "classes": [{"key": "one"}]}, "at least two"),
        ({"name": "x", "classes": [{"key": "a"}, {"key": "a"}]}, "twice"),
        ({"name": "x", "classes": [{"key": "Cyst"}, {"key": "b"}]}, "'Cyst'"),
        ({"name": "x", "classes": [{"key": "../a"}, {"key": "b"}]}, "lower-case"),
        ({"name": "x", "classes": [{"display": "a"}, {"key": "b"}]}, "form"),
        ({"name": "x", "classes": [{"key": "a", "code": {"value": "1"}}, {"key": "b"}]}, "form"),
        ({"name": "x", "classes": "ab"}, "form"),
        ({"classes": []}, "form"),
        ([], "form"),
        (None, "form"),
    ],
)
def test_what_is_no_scheme_is_refused(data: object, words: str) -> None:
    with pytest.raises(SchemeError, match=words):
        LesionScheme.from_dict(data)


def test_a_scheme_file_that_is_missing_or_no_json_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SchemeError, match=r"none\.json cannot be read"):
        LesionScheme.load(tmp_path / "none.json")
    for content in (b"{", b"\xff\xfe\x00"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(SchemeError, match=r"bad\.json is not JSON"):
            LesionScheme.load(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"display": "a\x1b[31m"}, "no line that people can read"),
        ({"display": "two\nlines"}, "no line that people can read"),
        ({"display": " "}, "no line that people can read"),
        ({"display": "B"}, "have the same display"),
        ({"code": {"value": "1", "scheme": "SCT", "meaning": "x" * 65}}, "meaning of 1 to 64"),
        ({"code": {"value": "a\\b", "scheme": "SCT", "meaning": "x"}}, "without backslash"),
        ({"code": {"value": 12, "scheme": "SCT", "meaning": "x"}}, "value and scheme of 1 to 16"),
    ],
)
def test_classes_that_could_not_be_told_apart_are_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    classes = [{"key": "a", **change}, {"key": "b", "display": "b"}]
    path = tmp_path / "scheme.json"
    path.write_text(json.dumps({"name": "x", "classes": classes}))
    with pytest.raises(SchemeError, match=words):
        LesionScheme.load(path)


def test_a_class_that_the_scheme_lacks_is_refused() -> None:
    with pytest.raises(SchemeError, match="cyst, metastasis, hemangioma"):
        LIVER.index("adenoma")


def test_the_liver_scheme_has_the_papers_order_and_codes() -> None:
    assert LIVER.keys == ("cyst", "metastasis", "hemangioma")
    assert [LIVER.index(key) for key in LIVER.keys] == [0, 1, 2]
    assert len(LIVER) == 3
    assert all(item.code and item.code.scheme == "SCT" for item in LIVER.classes)


def test_a_scheme_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "scheme.json"
    for scheme in (LIVER, LesionScheme.from_dict(TWO)):
        path.write_text(json.dumps(scheme.to_dict()))
        assert LesionScheme.load(path) == scheme
    assert LesionScheme.load("liver") is LIVER


def test_display_defaults_to_the_key() -> None:
    scheme = LesionScheme.from_dict(TWO)
    assert [scheme.display(key) for key in scheme.keys] == ["solid", "part"]
    assert scheme.classes[0].code is None


def test_every_class_has_its_own_hotkey() -> None:
    assert LIVER.hotkeys() == {"cyst": "c", "metastasis": "m", "hemangioma": "h"}
    same = LesionScheme("x", tuple(LesionClass(key, "aa") for key in ("aa", "ab", "aaa")))
    letters = same.hotkeys()
    assert letters["aa"] == "a"
    assert len(set(letters.values())) == 3


def test_a_code_is_kept() -> None:
    data = {
        "name": "x",
        "classes": [
            {"key": "a", "code": {"value": "1", "scheme": "99X", "meaning": "A"}},
            {"key": "b"},
        ],
    }
    assert LesionScheme.from_dict(data).classes[0].code == Code("1", "99X", "A")
