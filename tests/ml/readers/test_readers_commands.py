"""The command line: names and JSON that others rely on."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.readers import exchange
from ml.readers.simulation import QUESTIONS
from ml.statistics.ratings import Ratings


def block(readers: int, treatments: int) -> Ratings:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 30)
    scores = np.clip(np.round(rng.normal(3 + truth, 1.3, (treatments, readers, 60))), 1, 6)
    return Ratings(
        tuple(f"r{j}" for j in range(readers)),
        tuple(f"t{i}" for i in range(treatments)),
        tuple(str(k) for k in range(60)),
        truth,
        scores,
    )


def answer(capsys: pytest.CaptureFixture[str], *argv: object) -> dict:  # type: ignore[type-arg]
    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "argv",
    [
        ["readers", "analyse", "absent.csv"],
        ["readers", "plan", "--readers", "5", "--cases", "100", "--effect", "0"],
        ["readers", "rehearse", "--images", "2"],
        ["leak-audit", "--real", "absent", "--synthetic", "absent"],
    ],
)
def test_a_refusal_is_one_sentence_on_stderr(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and "Traceback" not in err


def test_analyse_gives_the_agreed_json_for_both_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings = block(4, 2)
    (tmp_path / "a.csv").write_text(exchange.long_csv(ratings))
    (tmp_path / "a.imrmc").write_text(exchange.imrmc(ratings, "study"))
    found = answer(capsys, "readers", "analyse", tmp_path / "a.csv")
    assert {"f", "df2", "p", "difference", "treatments", "components"} <= set(found["or"])
    assert set(found["or"]["difference"]) == {"value", "low", "high"}
    assert {"auc", "low", "high", "df"} <= set(found["or"]["treatments"][1])
    assert {"var", "cov1", "cov2", "cov3", "ms_t", "ms_tr"} <= set(found["or"]["components"])
    assert {"reader", "treatment", "auc", "low", "high"} <= set(found["readers"][0])
    assert len(found["readers"]) == 8
    again = answer(capsys, "readers", "analyse", tmp_path / "a.imrmc")
    assert again["or"]["f"] == pytest.approx(found["or"]["f"])


def test_analyse_of_one_treatment_has_null_f_and_p(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(exchange.long_csv(block(4, 1)))
    found = answer(capsys, "readers", "analyse", tmp_path / "a.csv")
    assert found["or"]["f"] is None and found["or"]["p"] is None
    assert found["or"]["difference"] is None


def test_analyse_of_one_reader_refuses_other_readers_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(exchange.long_csv(block(1, 2)))
    found = answer(capsys, "readers", "analyse", tmp_path / "a.csv")
    assert found["or"] is None and "1 reader" in found["or_refused"]
    assert found["fixed_readers"]["difference"] is not None
    assert main(["readers", "analyse", str(tmp_path / "a.csv")]) == 0
    assert "Refused: With 1 reader" in capsys.readouterr().out


def test_plan_takes_the_components_of_an_analysis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(exchange.long_csv(block(4, 2)))
    analysed = answer(capsys, "readers", "analyse", tmp_path / "a.csv")
    (tmp_path / "c.json").write_text(json.dumps(analysed))
    argv = ("readers", "plan", "--readers", 4, "--cases", 60, "--effect", 0.1)
    found = answer(capsys, *argv, "--components", tmp_path / "c.json")
    parts = analysed["or"]["components"]
    den = parts["ms_tr"] + 4 * max(parts["cov2"] - parts["cov3"], 0)
    assert found["mrmc"]["denominator"] == pytest.approx(den)  # the pilot's own size
    assert found["power"] == found["mrmc"]["power"]
    assert answer(capsys, *argv)["components"]["source"].startswith("assumed")
    assert main([str(a) for a in argv]) == 0
    assert "power" in capsys.readouterr().out


def test_plan_simulates_what_it_is_asked_and_takes_a_pilot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text(exchange.long_csv(block(4, 1)))
    argv = ("readers", "plan", "--readers", 4, "--cases", 40, "--effect", 0.2, "--studies", 20)
    found = answer(capsys, *argv, "--pilot", tmp_path / "p.csv")
    assert [one["claim"] for one in found["simulation"]] == list(QUESTIONS)
    assert all(one["asked"]["studies"] == 20 for one in found["simulation"])
    assert found["pilot"]["source"] == "p.csv" and found["pilot"]["readers"] == 4
    assert found["simulation_refused"] is None
    assert answer(capsys, *argv) == answer(capsys, *argv)
    assert main([str(a) for a in (*argv, "--claim", "equivalent")]) == 0
    assert "of 20 studies); closed formula" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "why"),
    [(("--alpha", "0.1"), "tests at 0.05"), (("--offset", "0.2"), "not equivalent within")],
)
def test_what_is_not_simulated_says_why(
    more: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("readers", "plan", "--readers", 3, "--cases", 20, "--effect", 0.2, "--studies", 2)
    assert why in answer(capsys, *argv, *more)["simulation_refused"]


def test_rehearse_prints_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("readers", "rehearse", "--readers", 3, "--images", 40, "--studies", 5)
    found = answer(capsys, *argv)
    assert found["studies"] == 5 and found["coverage"][0]["n"] == 5
    assert main([str(a) for a in argv]) == 0
    assert "coverage" in capsys.readouterr().out


def test_leak_audit_of_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for folder, level in (("real", 0), ("synthetic", 9)):
        (tmp_path / folder).mkdir()
        for k in range(12):
            pixels = rng.integers(90, 160, (64, 64)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{k}.png", compress_level=level)
    argv = ("leak-audit", "--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic")
    found = answer(capsys, *argv)
    assert found["verdict"] == "red"
    assert {"name", "group", "auc", "low", "high", "verdict"} <= set(found["features"][0])
    assert "classifier" in found
    assert main([str(a) for a in argv]) == 0
    assert capsys.readouterr().out.startswith("RED: ")
