"""The card says what is known, says why it does not say the rest, and says it in four forms."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints
from xml.etree import ElementTree as ET

import pytest

import chai as published
import kept_lesions
from ml import __main__ as commands
from ml.checkpoints import metrics, saving
from ml.checkpoints.card import chai, escaping, exports, guidelines, json_form, making, network
from ml.checkpoints.card.card import KEYS, Card
from ml.checkpoints.card.checklist import answer
from ml.checkpoints.card.entry import Empty, Said, Source
from ml.checkpoints.card.exports import Format
from ml.checkpoints.card.words import FIELDS, OwnersWords
from ml.checkpoints.checkpoint import Checkpoint, CheckpointError, shipped
from ml.lesion import LIVER, Code, LesionClass, LesionScheme
from tests.ml.checkpoints.test_checkpoint import META, SCORE, TENSORS

GOLDEN = Path(__file__).parents[3] / "golden" / "checkpoints"
HOSTILE = "<script>alert(1)</script>\n# Measured: 100 %\n| a | b |\n|---|---|\n![x](http://e) ]]>"
EVERY = OwnersWords(
    **{key: "2026-11-28" if key == "released" else f"word of {key}" for key in FIELDS}
)
CHAI = "{https://mc.chai.org/v0.2/schema.xsd}"


def scheme_of(n: int) -> LesionScheme:
    """Classes whose names try to break out of a table."""
    codes = [Code(str(k), "99X", "a | b") if k % 2 else None for k in range(n)]
    return LesionScheme(
        "some", tuple(LesionClass(f"c{k}", f"class | <b>{k}</b>", codes[k]) for k in range(n))
    )


def of_scheme(scheme: LesionScheme) -> Checkpoint:
    interval = SCORE["accuracy"]
    each = dict.fromkeys(scheme.keys, interval)
    confusion = [[10 if i == k else 1 for k in range(len(scheme))] for i in range(len(scheme))]
    score = {
        **SCORE,
        "classes": list(scheme.keys),
        "confusion": confusion,
        "n_lesions": sum(map(sum, confusion)),
        "sensitivity": each,
        "specificity": each,
        "auc": {key: {"value": None, "low": None, "high": None} for key in scheme.keys},
    }
    return replace(
        META,
        scheme=scheme,
        training_kind="calibrated",
        metrics=metrics.read("classifier", {"test": score}),
    )


GENERATOR = replace(
    META,
    kind="generator",
    lesion_class="cyst",
    latent_size=5,
    metrics=metrics.read("generator", {}),
)


def markdown_of(checkpoint: Checkpoint, said: OwnersWords | None = None) -> str:
    return exports.written(making.card(checkpoint, said), Format.MARKDOWN).decode()


OF_EACH_KIND = {
    "phantoms": META,
    "generator": GENERATOR,
    "two classes": of_scheme(scheme_of(2)),
    "nine classes": of_scheme(scheme_of(9)),
    "grey values": replace(META, training_kind="uncalibrated", commit="unknown", command=""),
    "nothing measured": replace(META, metrics=metrics.read("classifier", {}), config={}),
    "hostile record": replace(META, dataset_name=HOSTILE + "\x1b\x00", command="a ``` b\n# c"),
    "kept lesions": replace(META, lesions=kept_lesions.lesions().record()),
    "experiment": replace(META, config={"folds": 5, "seed": 3, "classic": [500]}),
    **{path.name: Checkpoint.load(path) for path in shipped()},
    **{name: Checkpoint.load(GOLDEN / name) for name in ("old-cnn", "old-dcgan")},
}


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    return published.schema(tmp_path_factory.mktemp("schema"))


def test_there_are_forty_fields_in_the_order_of_their_numbers() -> None:
    assert len(KEYS) == 40
    assert [field.number for field in making.card(META).fields] == list(range(1, 41))


@pytest.mark.parametrize("name", OF_EACH_KIND)
@pytest.mark.parametrize("said", [OwnersWords(), EVERY], ids=["silent", "typed"])
def test_no_field_is_left_out_and_none_is_empty_without_a_reason(name, said) -> None:
    card = making.card(OF_EACH_KIND[name], said)
    for field in card.fields:
        if isinstance(field.entry, Empty):
            assert len(field.entry.reason) > 10, field.key
        else:
            assert all(one.text for one in field.entry.statements), field.key
            assert all(one.reason for one in field.entry.gaps), field.key
    for format in Format:
        exports.written(card, format).decode()


@pytest.mark.parametrize("name", ["phantoms", "generator", "two classes", "old-cnn"])
def test_whatever_the_owner_typed_is_in_the_card_and_marked_as_theirs(name) -> None:
    card = making.card(OF_EACH_KIND[name], EVERY)
    theirs = {
        one.text
        for field in card.fields
        if isinstance(field.entry, Said)
        for one in field.entry.statements
        if one.source is Source.OWNER
    }
    assert theirs == set(EVERY.typed.values())
    text = exports.written(card, Format.MARKDOWN).decode()
    assert text.count("\n> ") == len(theirs)


def test_without_an_owner_the_card_says_nothing_in_their_name() -> None:
    for checkpoint in OF_EACH_KIND.values():
        for field in making.card(checkpoint).fields:
            if isinstance(field.entry, Said):
                assert all(not one.is_owners for one in field.entry.statements), field.key


def test_what_is_not_known_is_not_claimed() -> None:
    bare = markdown_of(OF_EACH_KIND["nothing measured"])
    assert "nothing was held out" in bare
    for claim in ("alanced accuracy", "opset", "seed 0", "Optimiser:", "%"):
        assert claim not in bare, claim
    real = markdown_of(OF_EACH_KIND["two classes"])
    for claim in ("portal", "simulated", "Licence of the network:", "approved"):
        assert claim not in real, claim
    assert "with files that differed from it" in markdown_of(replace(META, commit="abc+"))
    assert "the commit was not known" in markdown_of(OF_EACH_KIND["grey values"])


def test_the_figures_are_those_of_the_record_with_their_n() -> None:
    fields = json_form.form(making.card(OF_EACH_KIND["phantom-cnn"]))["fields"]
    test = fields["discrimination"]["statements"][0]
    [folder] = [one for one in shipped() if one.name == "phantom-cnn"]
    metrics = json.loads((folder / "checkpoint.json").read_text("utf-8"))["metrics"]
    told = metrics["cross_validation"]
    found = {(one["measure"], one["of"]): one for one in test["figures"]}
    assert found["sensitivity", "cyst"]["value"] == told["sensitivity"]["cyst"]["value"]
    assert found["balanced accuracy", ""]["low"] == told["balanced_accuracy"]["low"]
    n = told["n_lesions"]
    assert (test["sample"]["n_lesions"], test["sample"]["n_patients"]) == (n, told["n_patients"])
    right = sum(row[k] for k, row in enumerate(told["confusion"]))
    wrong = fields["failures"]["statements"][0]["text"]
    most = max(m for i, row in enumerate(told["confusion"]) for k, m in enumerate(row) if i != k)
    assert wrong.startswith(f"{n - right} of {n} lesions were named wrongly: {most} × ")


def test_the_surest_mistakes_are_named_one_by_one_and_their_pictures_where_there_are_some() -> None:
    lesions = kept_lesions.lesions()
    phantoms = making.card(replace(META, lesions=lesions.record()))
    text = exports.written(phantoms, Format.MARKDOWN).decode()
    rows = [line for line in text.splitlines() if re.match(r"\| \d{4} of PHANTOM", line)]
    assert len(rows) == 4 == lesions.record().n_wrong
    first = lesions.mistake(int(lesions.wrong[0]))
    assert rows[0].startswith(f"| {first.id} of {first.patient}: {first.truth} named {first.said}")
    assert f"{100 * first.p_said:.1f} %" in rows[0]
    assert "The 4 of 4 mistakes that were made with the highest probability. Out of fold" in text
    assert "24 lesions of 12 patients" in text and "lesions.safetensors" in text
    told = json_form.form(phantoms)["fields"]["failures"]["statements"]
    assert [one["value"] for one in told[-2]["figures"][::2]] == [
        one.p_said for one in lesions.record().surest
    ]
    real = kept_lesions.without_pictures(lesions).record()
    text = exports.written(making.card(replace(META, lesions=real)), Format.MARKDOWN).decode()
    assert "images of them: pictures of patients are not kept with a checkpoint" in text
    assert "patient 001" in text and "PHANTOM" not in text
    scores = making.card(replace(META, lesions=replace(real, calibrated=False)))
    text = exports.written(scores, Format.MARKDOWN).decode()
    assert "score of the class named" in text and "highest score" in text


def test_the_keys_of_the_json_form_stay() -> None:
    """Programs rely on them: a change here is a new ``format``."""
    made = json_form.form(making.card(META))
    assert made["format"] == 1
    assert list(made) == [
        "format", "checkpoint", "summary", "cautions", "keywords", "fields", "checklists",
    ]  # fmt: skip
    assert tuple(made["fields"]) == KEYS == (
        "identity", "developer", "stage", "intended_use", "population", "out_of_scope", "limits",
        "input", "output", "architecture", "pretraining", "training_data", "demographics",
        "reference_standard", "annotation_quality", "split", "synthetic_data", "training",
        "sample_size", "discrimination", "calibration", "prediction_sets", "novelty",
        "decision_use", "subgroups", "external_test", "failures", "robustness", "readers",
        "human_factors", "monitoring", "maintenance", "security", "ethics", "registration", "code",
        "availability", "compute", "references", "logs",
    )  # fmt: skip
    assert {frozenset(one) for one in made["fields"].values()} == {
        frozenset({"number", "title", "empty", "statements", "gaps"})
    }


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_the_xml_is_valid_by_the_published_schema(name, schema) -> None:
    for said in (OwnersWords(), EVERY, OwnersWords(funding=HOSTILE, users="é ☢ \U0001f9ea")):
        schema.validate(chai.written(making.card(OF_EACH_KIND[name], said)))


def test_the_xml_holds_the_figures_as_chais_own_examples_write_them() -> None:
    root = ET.fromstring(chai.written(making.card(OF_EACH_KIND["phantom-cnn"])))
    results = root.find(f".//{CHAI}UsefulnessUsabilityEfficacy/{CHAI}Results")
    assert results is not None
    first = results[0]
    assert first[0].text == (
        "balanced accuracy, Out of fold (the same training repeated, every lesion tested once): "
        "182 lesions of 96 patients"
    )
    told = json.loads(str(first[1].text))
    assert (told["kind"], told["level"], told["unit"]) == ("estimate_ci", 95, "%")
    record = OF_EACH_KIND["phantom-cnn"].metrics.cross_validation
    assert told["estimate"] == round(100 * record.balanced_accuracy.known, 4)
    fairness = root.find(f".//{CHAI}FairnessEquity/{CHAI}Results/{CHAI}MetricResult")
    assert fairness is not None
    assert [one.text for one in fairness] == ["Not measured", '{"kind": "single", "value": null}']


def test_hostile_words_stay_words() -> None:
    card = making.card(OF_EACH_KIND["hostile record"], OwnersWords(funding=HOSTILE))
    for format in (Format.MARKDOWN, Format.CHECKLIST):
        text = exports.written(card, format).decode()
        assert not any(line.startswith("# Measured") for line in text.splitlines())
        assert not any(line.startswith(("| a", "|---|---|\n!")) for line in text.splitlines())
        assert "<script" not in text.replace("\\<script", "")
        assert "![" not in text
        assert "\x1b" not in text and "\x00" not in text
    markdown = exports.written(card, Format.MARKDOWN).decode()
    assert "````\na ``` b\n# c\n````" in markdown
    root = ET.fromstring(chai.written(card))
    assert "alert(1)" in str(root.findtext(f".//{CHAI}FundingSource"))
    for row in markdown_of(of_scheme(scheme_of(2))).splitlines():
        if row.startswith("| class"):
            assert row.count("|") - row.count("\\|") == 5


def test_numbers_and_dashes_are_escaped_only_where_they_would_be_markup() -> None:
    assert escaping.markdown("1. a\n-150 HU\n- b\n2018;3") == "1\\. a\n-150 HU\n\\- b\n2018;3"
    marks = escaping.markdown("snake_case _b_ a&amp; ~~c~~")
    assert marks == "snake_case \\_b\\_ a\\&amp; \\~\\~c\\~\\~"
    assert escaping.cell("a\n\nb | 71.4") == "a b \\| 71.4"


def test_each_guideline_has_its_items_once_and_in_order() -> None:
    claim, tripod, stard = guidelines.GUIDELINES.values()
    assert [one.number for one in claim.items] == [str(n) for n in range(1, 45)]
    for guideline, last, n in ((tripod, 27, 52), (stard, 40, 48)):
        numbers = [one.number for one in guideline.items]
        assert len(set(numbers)) == len(numbers) == n
        plain = [int(one.rstrip("abcdefg")) for one in numbers]
        assert plain == sorted(plain)
        assert set(plain) == set(range(1, last + 1))


def test_every_part_that_an_item_asks_for_is_one_that_the_card_can_fill() -> None:
    known = {
        (field.key, one.about)
        for card in (making.card(one, EVERY) for one in OF_EACH_KIND.values())
        for field in card.fields
        if isinstance(field.entry, Said)
        for one in field.entry.statements
    }
    for guideline in guidelines.GUIDELINES.values():
        for item in guideline.items:
            for ask in item.asks:
                assert ask.about is None or (ask.field, ask.about) in known, (guideline.name, item)


def test_an_item_without_an_answer_says_why() -> None:
    card = making.card(of_scheme(scheme_of(2)))
    for guideline in guidelines.GUIDELINES.values():
        for item in guideline.items:
            found, words = answer(card, item)
            assert len(words) > 10
            assert found or item.why or "field " in words
    by_number = {one.number: one for one in guidelines.CLAIM.items}
    assert answer(card, by_number["44"]) == (False, "field 2: the owner has not typed it")
    paid = making.card(META, OwnersWords(funding="By nobody"))
    assert answer(paid, by_number["44"]) == (True, "By nobody. (field 2)")
    long = making.card(META, OwnersWords(funding="x" * 4000))
    assert len(answer(long, by_number["44"])[1]) < 700


def test_the_files_tell_opset_and_numbers(tmp_path: Path) -> None:
    told = network.of_folder(OF_EACH_KIND["phantom-cnn"])
    assert told == network.Network(3 * 1_273_348, 15_286_778, 17)
    for nothing in (b"", b"onnx bytes", b"\xff" * 40, b"\x42\x7f"):
        assert network.opset(nothing) is None
    assert network.of_folder(META) is None
    saved = saving.save(META, tmp_path / "cnn", b"onnx bytes", TENSORS)
    assert "weights.safetensors with 7 numbers" in (tmp_path / "cnn" / "CARD.md").read_text()
    (tmp_path / "cnn" / "model.onnx").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="SHA-256"):
        making.of_folder(saved.root or "")


def test_words_beside_a_checkpoint_are_in_its_card(tmp_path: Path, capsysbinary) -> None:
    saving.save(META, tmp_path, b"o", TENSORS, OwnersWords(funding="By nobody"))
    assert "> Funding: By nobody" in (tmp_path / "CARD.md").read_text("utf-8")
    assert making.of_folder(tmp_path) == making.of_folder(
        tmp_path, OwnersWords(funding="By nobody")
    )
    (tmp_path / "mine.toml").write_text('funding = "By me"', "utf-8")
    assert commands.main(["card", str(tmp_path), "--words", str(tmp_path / "mine.toml")]) == 0
    assert b"> Funding: By me\n" in capsysbinary.readouterr().out


def test_the_command_writes_each_form_and_refuses_another_in_words(capsysbinary) -> None:
    folder = str(GOLDEN / "old-cnn")
    hint = get_type_hints(commands.card)["format"]
    assert get_args(hint) == tuple(Format)
    for format in Format:
        assert commands.main(["card", folder, "--format", format]) == 0
        made = making.of_folder(folder)
        assert capsysbinary.readouterr().out == exports.written(made, format)
    assert commands.main(["card", folder, "--format", "pdf"]) == 2
    told = capsysbinary.readouterr().err.decode()
    assert "pdf" in told and "chai-xml" in told
    assert isinstance(making.of_folder(folder), Card)


def test_a_scheme_s_codes_are_in_the_card() -> None:
    text = markdown_of(META)
    for one in LIVER.classes:
        assert one.code is not None and one.code.value in text
