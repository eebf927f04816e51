"""Settings: unknown ones are refused with the nearest known name, known ones keep their type."""

from __future__ import annotations

import json
from operator import attrgetter

import pytest

from ml.config import (
    TRAININGS,
    Augment,
    Classifier,
    Config,
    ConfigError,
    Experiment,
    Gan,
    Precision,
    Schedule,
    experiment,
    keys,
    load,
    preset,
    preset_of,
    seed_for,
)

WORDS = ("classifier.schedule", "classifier.precision", "classifier.committee", "device")
"""The settings that are no numbers."""


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("gan.epoch", "gan.epochs"), ("epochs.gan", "gan.epochs"), ("augment.rotation", "rotations")],
)
def test_unknown_key_is_refused_with_the_nearest_known(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}.*nearest.*{nearest}"):
        Config().override([f"{key}=3"])


@pytest.mark.parametrize(
    "assignment",
    [
        "gan.epochs=many",
        "gan.epochs=1.5",
        "gan.epochs=",
        "gan.learning_rate=nan",
        "gan.learning_rate=inf",
        "gan.epochs=0",
        "gan.batch=1",
        "augment.flips=4",
        "augment.per_fold=-1",
        "folds=1",
        "test_fold=3",
        "window_low_hu=300",
        "classifier.dropout=1",
        "classifier.members=0",
        "classifier.members=11",
        "classifier.committee=all",
    ],
)
def test_impossible_value_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError, match=assignment.split("=")[0].split(".")[-1]):
        Config().override([assignment])


@pytest.mark.parametrize("key", [key for key in keys(Experiment) if key not in WORDS])
def test_a_number_without_end_is_refused_by_its_bound(key: str) -> None:
    for huge in ("9" * 18, "1e300"):
        with pytest.raises(ConfigError, match=key.rsplit(".", maxsplit=1)[-1]):
            Experiment().override([f"{key}={huge}"])


def test_shares_stand_for_sizes_of_the_classic_ones_and_are_not_told_where_there_are_none() -> None:
    compact = experiment("compact")
    assert compact.synthetic_of(3) == compact.synthetic == (100, 400)
    assert "shares" not in compact.dump()
    shared = compact.override(["shares=0.25+0.5+1"])
    assert shared.synthetic_of(3) == (83, 167, 333) and load(shared.dump(), Experiment) == shared
    for impossible in ("0.5+0.25", "0", "1000", "many"):
        with pytest.raises(ConfigError, match=r"^(shares|0) (must be|wants)"):
            compact.override([f"shares={impossible}"])
    for impossible in ("256+64", "1", "5000"):
        with pytest.raises(ConfigError, match="visual_words must be at most 20 whole numbers"):
            compact.override([f"visual_words={impossible}"])


def test_more_views_than_can_be_drawn_are_refused_with_their_number() -> None:
    with pytest.raises(ConfigError, match=r"gives 392400 views of a lesion.*at most 50000"):
        Config().override(["augment.rotations=3600", "augment.translations=100"])
    with pytest.raises(ConfigError, match="rotations must be 1 to 3,600, not 1,000,000"):
        Config().override(["augment.rotations=1000000"])


def test_assignment_without_equals_is_refused() -> None:
    with pytest.raises(ConfigError, match="key=value"):
        Config().override(["gan.epochs"])


def test_group_cannot_be_set_as_a_whole() -> None:
    with pytest.raises(ConfigError, match="gan"):
        Config().override(["gan=3"])


def test_boolean_is_no_number() -> None:
    with pytest.raises(ConfigError, match="whole number"):
        load({"seed": True})


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("gan.epochs=1e3", "gan.epochs", 1000),
        ("gan.epochs=1000.0", "gan.epochs", 1000),
        ("gan.epochs=1_000", "gan.epochs", 1000),
        ("gan.epochs= +7 ", "gan.epochs", 7),
        ("seed=9007199254740991", "seed", 9007199254740991),
        ("gan.learning_rate=1", "gan.learning_rate", 1.0),
        ("window_low_hu=-1e2", "window_low_hu", -100.0),
        ("classic=500+1000", "classic", (500, 1000)),
        ("classic=500, 1000", "classic", (500, 1000)),
        ("classic=500 1e3", "classic", (500, 1000)),
        ("classic=500", "classic", (500,)),
        ("shares=0.25+0.5+1", "shares", (0.25, 0.5, 1.0)),
        ("classifier.precision=bfloat16", "classifier.precision", Precision.BFLOAT16),
        ("classifier.schedule=linear", "classifier.schedule", Schedule.LINEAR),
        ("device=cuda:1", "device", "cuda:1"),
    ],
)
def test_a_value_is_read_however_it_is_honestly_written(assignment, name, value):  # type: ignore[no-untyped-def]
    read = attrgetter(name)(Experiment().override([assignment]))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("classifier.precision=float64", "classifier.precision must be float32 or bfloat16, not "),
        ("classifier.schedule=LINEAR", "classifier.schedule must be constant or linear, not 'LIN"),
        ("classifier.precision=", "classifier.precision must be float32 or bfloat16, not ''."),
        ("gan.epochs=1e400", "gan.epochs wants a whole number, not '1e400'."),
        ("gan.epochs=0x10", "gan.epochs wants a whole number, not '0x10'."),
        ("gan.epochs=²", "gan.epochs wants a whole number, not '²'."),
        ("gan.epochs=3=4", "gan.epochs wants a whole number, not '3=4'."),
        ("gan.epochs=True", "gan.epochs wants a whole number, not 'True'."),
        (f"seed={'9' * 5000}", "seed wants a whole number, not '9999"),
        ("gan.learning_rate=0,001", "gan.learning_rate wants a number, not '0,001'."),
        ("gan.learning_rate=-inf", "gan.learning_rate wants a number, not '-inf'."),
        ("classic=", "classic wants a whole number, not ''."),
        ("classic=(500,1000)", "classic wants a whole number, not '(500'."),
        ("classic=1000+500", "classic must be whole numbers from 1, each larger than the one bef"),
        ("acgan=1", "There is no setting 'acgan'; the nearest is 'acgan.ema'."),
        ("=3", "There is no setting ''"),
    ],
)
def test_a_strange_value_is_refused_with_the_setting_and_what_is_allowed(
    assignment: str, told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Experiment().override([assignment])
    assert str(refused.value).startswith(told)
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"seed": None}, "seed wants a whole number, not None."),
        ({"seed": True}, "seed wants a whole number, not True."),
        ({"seed": [1]}, "seed wants a whole number, not [1]."),
        ({"seed": 3.5}, "seed wants a whole number, not 3.5."),
        ({"gan": {"epochs": float("inf")}}, "gan.epochs wants a whole number, not inf."),
        ({"gan": {"learning_rate": float("nan")}}, "gan.learning_rate wants a number, not nan."),
        ({"gan": {"learning_rate": 10**400}}, "gan.learning_rate wants a number, not 1000"),
        ({"gan": {"learning_rate": {}}}, "gan.learning_rate wants a number, not {}."),
        ({"difficulty": True}, "difficulty wants a number, not True."),
        ({"gan": None}, "gan is a group of settings; set one of them by gan.name."),
        ({"gan": {"epoch": 7}}, "There is no setting 'gan.epoch'; the nearest is 'gan.epochs'."),
        ({"classic": 500}, "classic wants whole numbers such as 500+1000, not 500."),
        ({"classic": [500, True]}, "classic wants a whole number, not True."),
        ({"device": 3}, "device wants a word, not 3."),
        ({"classifier": {"precision": 3}}, "classifier.precision must be float32 or bfloat16, "),
        ([], "Settings are a JSON object of named values."),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused_with_the_setting(data, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as refused:
        load(data, Experiment)
    assert str(refused.value).startswith(told)


def test_every_wrong_value_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"seed wants .* gan\.epochs wants "):
        Config().override(["gan.epochs=many", "seed=none"])


def test_a_word_is_taken_as_text_or_as_a_member_and_written_as_text() -> None:
    for given in ("linear", Schedule.LINEAR):
        made = load({"classifier": {"schedule": given}})
        assert made.classifier.schedule is Schedule.LINEAR
        assert '"schedule": "linear"' in json.dumps(made.dump())
    with pytest.raises(ConfigError, match="must be float32 or bfloat16, not 'float16'"):
        Classifier(precision="float16")  # type: ignore[arg-type]


def test_override_changes_only_what_it_names_and_keeps_types() -> None:
    changed = Config().override(["gan.epochs=7", "gan.learning_rate=1e-3", "seed=5"])
    assert changed.gan.epochs == 7
    assert isinstance(changed.gan.epochs, int)
    assert changed.gan.learning_rate == 0.001
    assert changed.seed == 5
    assert changed.classifier == Config().classifier
    assert Config().gan.epochs == 70


def test_dump_survives_json_and_gives_an_equal_config(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for config in TRAININGS.values():
        assert load(json.loads(json.dumps(config.dump()))) == config
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TRAININGS["shipped"].dump()))
    assert load(path) == TRAININGS["shipped"]


def test_file_that_is_no_json_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "c.json")


def test_unknown_preset_names_the_known() -> None:
    with pytest.raises(ConfigError, match="paper"):
        preset("papers")


def test_every_setting_has_a_dotted_name() -> None:
    assert {"gan.width", "augment.rotations", "classifier.momentum", "seed"} <= set(keys())


def test_paper_defaults_are_the_papers() -> None:
    assert Augment().per_lesion == 480
    gan = Gan()
    assert (gan.latent, gan.batch, gan.epochs, gan.learning_rate) == (100, 64, 70, 2e-4)
    assert (gan.beta1, gan.beta2, gan.width) == (0.5, 0.999, 128)
    assert Config().classifier.epochs == 150
    assert Config().classifier.learning_rate == 0.001


def test_seed_depends_on_every_part_and_on_their_borders() -> None:
    seeds = {
        seed_for("a", 1),
        seed_for("a", 2),
        seed_for("b", 1),
        seed_for("a1"),
        seed_for("a", 12),
    }
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_single_network_is_told_as_before_there_were_ensembles() -> None:
    plain = Config().dump()["classifier"]
    assert not {"members", "committee"} & plain.keys()
    several = Config().override(["classifier.members=3", "classifier.committee=every_fold"])
    assert load(json.loads(json.dumps(several.dump()))) == several
    assert several.dump()["classifier"] == {**plain, "members": 3, "committee": "every_fold"}
    assert several.classifier.of_one == Config().classifier
    # which says how each of them was trained
    assert preset_of(several.dump()) == preset_of(Config().dump()) == "paper"


def test_more_networks_than_serve_together_are_refused_with_their_number() -> None:
    with pytest.raises(ConfigError, match="serves 32 networks together"):
        Config().override(["folds=4", "classifier.members=8", "classifier.committee=every_fold"])


@pytest.mark.parametrize("setting", ["members=2", "committee=every_fold"])
def test_an_experiment_refuses_an_ensemble(setting: str) -> None:
    with pytest.raises(ConfigError, match="one network of an arm, fold and seed"):
        Experiment().override([f"classifier.{setting}"])
