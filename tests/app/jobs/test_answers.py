"""Answers and items keep the form that they have in rows and on the wire."""

from __future__ import annotations

import json

import pytest

from app.jobs.answers import Classified, Refusal, answers_of, together
from app.jobs.items import HeldPlace, RefusedItem, SentRoi, asked_of, is_absent, items_of
from ml.ground.records import RecordError

WHOLE = """{"status": 200, "checkpoint": "cnn", "version": "3bf4-23a0", "lesion_class": "cyst",
 "probabilities": {"metastasis": 0.1, "cyst": 0.7, "hemangioma": 0.2}, "calibrated": true,
 "prediction_set": {"level": 0.9, "classes": ["cyst", "hemangioma"]},
 "unlike_training": {"score": 0.412, "flag": false, "reasons": []},
 "second_opinion": {"model": "features", "probabilities": {"cyst": 1.0}, "reasons": ["dark"]},
 "agreement": {"networks": 3, "agree": 1, "lowest": 0.2, "highest": 0.9},
 "roi": {"box": [44.0, 44.0, 40.0, 0.0], "square": [32.8, 32.8, 62.4, 62.4], "side_mm": 49.92},
 "calibrated_hu": true, "limits": "Trained on phantoms.", "warnings": ["one", "two"],
 "case": "6f1f0c7e-0c53-4c0e-9d0b-5a2f6f7c1d11",
 "image": {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3"},
 "lesion": "0b9a1f5e-7f36-4a53-8f0e-6f3f0d3b2a22"}"""
BARE = """{"status": 200, "checkpoint": "cnn", "version": "3bf4-23a0", "lesion_class": "cyst",
 "probabilities": {"cyst": 0.9, "metastasis": 0.1}, "calibrated": false, "prediction_set": null,
 "unlike_training": null, "second_opinion": null, "agreement": null,
 "roi": {"box": null, "square": [0, 0, 64, 64], "side_mm": null},
 "calibrated_hu": false, "limits": "", "warnings": []}"""
REFUSAL = '{"status": 404, "title": "Not found", "detail": "It is not here."}'
COUNTS = '"checkpoint": "cnn", "classified": 2, "refused": 1'
RESULT = f'{{{COUNTS}, "lesions": [{WHOLE}, {REFUSAL}, {BARE}]}}'


def test_answers_are_read_and_written_in_the_form_that_rows_have():
    stored = json.loads(RESULT)
    whole, refusal, bare = read = answers_of(stored)
    assert json.dumps(together("cnn", read)) == json.dumps(stored)
    assert isinstance(whole, Classified) and isinstance(bare, Classified)
    assert whole.held is not None and whole.held.image.instance == "2.25.3"
    assert (whole.said.lesion_class, whole.roi.box) == ("cyst", (44.0, 44.0, 40.0, 0.0))
    assert refusal == Refusal(404, "Not found", "It is not here.")
    assert (bare.held, bare.roi.box, bare.said.agreement) == (None, None, None)


def test_an_answer_from_before_versions_and_ensembles_were_told_is_read():
    old = json.loads(WHOLE)
    for later in ("version", "agreement", "unlike_training", "second_opinion"):
        del old[later]
    [answer] = answers_of({"lesions": [old]})
    assert isinstance(answer, Classified)
    assert (answer.version, answer.said.agreement, answer.said.lesion_class) == ("", None, "cyst")


def test_items_are_read_and_written_in_the_form_that_rows_have():
    place = {
        "image": "6f1f0c7e-0c53-4c0e-9d0b-5a2f6f7c1d11",
        "case": "0b9a1f5e-7f36-4a53-8f0e-6f3f0d3b2a22",
    }
    stored = {
        "items": [
            {"roi": "AACAPwAAgL8AAAAA" + "AAAA" * 5457 + "AA==", "calibrated": True,
             "box": [1.5, 2.0, 3.0, 4.0], "square": [0, 0, 64, 64], "side_mm": 12.5,
             "warnings": ["one"], "phantom": True},
            {**place, "box": [44.123456, 44.5, 30.0, 0.0003]},
            {**place, "box": None, "lesion": place["image"]},
            {"refused": json.loads(REFUSAL)},
        ]
    }  # fmt: skip
    sent, at, of_lesion, refused = read = items_of(json.loads(json.dumps(stored)))
    assert json.dumps(asked_of(read)) == json.dumps(stored)
    assert isinstance(sent, SentRoi) and isinstance(at, HeldPlace)
    assert [float(value) for value in sent.roi.pixels.flat[:3]] == [1.0, -1.0, 0.0]
    assert isinstance(of_lesion, HeldPlace) and str(of_lesion.lesion) == place["image"]
    assert isinstance(refused, RefusedItem) and refused.refused.detail == "It is not here."
    assert [is_absent(one) for one in read] == [False, False, False, True]


def test_an_item_that_is_none_is_refused_by_name():
    with pytest.raises(RecordError, match=r"items\[0\] is no HeldPlace"):
        items_of({"items": [{"image": "no id", "case": "", "box": None}]})
