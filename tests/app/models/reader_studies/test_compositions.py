"""A composition step by step: what is asked, what is there, how it is shared out, what is drawn."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest

import studies
from app.errors import Unreadable
from app.models import Checkpoint
from app.models.reader_studies.available import Available
from app.models.reader_studies.composition import Composition, Drawn, Seeds
from app.models.reader_studies.design import Design
from app.models.reader_studies.planned import Plan
from app.models.reader_studies.shares import Shares
from app.models.reader_studies.task import Task
from app.models.reader_studies.typed import said_seeds, seeds_of
from app.models.reader_studies.wish import MOST_SEED, Wish, in_all
from app.models.runs.known_lesions import ClassCount, KnownLesion
from ml.images.ct_slice import ImageKind
from ml.lesion import LIVER

WISH = Wish(title=" T ", scheme=LIVER, real=6, synthetic=6, seed=1)
KEYS = LIVER.keys


def available(per_class: int = 3, **more) -> Available:
    """Lesions without a database, each of a patient of its own."""
    lesions = tuple(
        KnownLesion(
            uuid.UUID(int=1000 * place + number), uuid.UUID(int=number),
            f"patient {place} {number}", ImageKind.PHANTOM, key, "pathology",
        )
        for place, key in enumerate(KEYS)
        for number in range(per_class)
    )  # fmt: skip
    counts = tuple(ClassCount(key, key, per_class, per_class, ("g",)) for key in KEYS)
    given = {
        "kind": ImageKind.PHANTOM, "lesions": lesions, "counts": counts, "withdrawn": 0,
        "drawing": {}, "window_hu": (-150.0, 250.0), "versions": (), **more,
    }  # fmt: skip
    return Available(**given)


# -- ask ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"title": "  "}, "1 to 200 characters"),
        ({"title": "x" * 201}, "1 to 200 characters"),
        ({"real": 0}, "from 1 to 1000 real images, not 0"),
        ({"synthetic": 1001}, "from 1 to 1000 synthetic images, not 1001"),
        ({"real": {"cyst": 1}}, "are for cyst; this scheme has"),
        ({"synthetic": dict.fromkeys(KEYS, -1)}, "synthetic images per class"),
        ({"seed": -1}, "Choose a seed"),
        ({"seed": MOST_SEED + 1}, "Choose a seed"),
        ({"kind": "ultrasound"}, "phantom, calibrated, uncalibrated"),
        ({"design": Design(practice=1)}, "practice images"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_the_data_are_looked_at(wrong, said):
    with pytest.raises(Unreadable, match=said):
        replace(WISH, **wrong).checked()


def test_a_checked_wish_is_trimmed_has_a_seed_and_a_member_for_its_kind():
    checked = replace(WISH, seed=None, kind="phantom").checked()
    assert (checked.title, checked.kind) == ("T", ImageKind.PHANTOM)
    assert 0 <= checked.seed <= MOST_SEED
    assert replace(WISH, kind=ImageKind.PHANTOM).checked().kind is ImageKind.PHANTOM
    assert in_all({"cyst": 2, "metastasis": 3, "hemangioma": 0}) == 5


# -- available ------------------------------------------------------------------------------------


def test_no_or_several_kinds_of_image_are_told_with_their_numbers(session):
    with pytest.raises(Unreadable, match="No kind of image has both"):
        Available.of(session, replace(WISH, scheme=LIVER).checked())
    for kind, phantom in (("phantom", True), ("calibrated", False)):
        studies.make_generators(session, training_kind=kind)
        studies.make_known_lesions(session, 1, phantom=phantom, first=50 * phantom)
    with pytest.raises(Unreadable, match=r"several kinds \(phantom, calibrated\)"):
        Available.of(session, WISH.checked())
    found = Available.of(session, replace(WISH, kind="calibrated").checked())
    assert found.kind is ImageKind.CALIBRATED
    assert {len(rows) for rows in found.drawing.values()} == {1}
    assert len(found.lesions) == 3


# -- balance --------------------------------------------------------------------------------------


def test_what_does_not_divide_goes_to_the_first_classes_in_the_order():
    wish = replace(WISH, real=7, synthetic=8).checked()
    shares = Shares.of(wish, available(), ("metastasis", "cyst", "hemangioma"))
    assert shares.real == {"cyst": 2, "metastasis": 3, "hemangioma": 2}
    assert shares.synthetic == {"cyst": 3, "metastasis": 3, "hemangioma": 2}
    assert set(shares.practice_real.values()) == {0}


def test_practice_takes_what_the_study_leaves_half_of_it_real():
    wish = replace(WISH, design=Design(practice=5)).checked()
    shares = Shares.of(wish, available(), KEYS)
    assert sum(shares.practice_real.values()) == 2
    assert sum(shares.practice_synthetic.values()) == 3
    with pytest.raises(Unreadable, match=r"and, for practice, 1 cyst.*less practice"):
        Shares.of(replace(wish, real=9), available(), KEYS)


def test_too_few_lesions_are_told_with_what_there_is():
    wish = replace(WISH, real={"cyst": 4, "metastasis": 0, "hemangioma": 0}).checked()
    with pytest.raises(Unreadable, match=r"4 cyst.*There are 3 cyst, 3 metastasis"):
        Shares.of(wish, available(), KEYS)


# -- draw -----------------------------------------------------------------------------------------


def test_seeds_never_come_twice_and_are_those_of_the_seed():
    one, again = Seeds(3), Seeds(3)
    drawn = [one.next() for _ in range(50)]
    assert drawn == [again.next() for _ in range(50)]
    assert len(set(drawn)) == 50

    class Stuck:
        """A source that says each number twice."""

        def __init__(self):
            self.said = [7, 7, 8]

        def integers(self, _top):
            return self.said.pop(0)

    one.rng = Stuck()
    assert (one.next(), one.next()) == (7, 8)


def test_practice_shows_no_image_of_the_study_and_other_patients_where_it_can(session):
    studies.make_generators(session)
    studies.make_known_lesions(session, 3)
    wish = replace(WISH, design=Design(practice=6)).checked()
    found = Available.of(session, wish)
    drawn = Drawn.of(found, Shares.of(wish, found, KEYS), Seeds(1), wish.design.task)
    assert len({one.id for one in drawn.lesions + drawn.practice_lesions}) == 9
    assert not {one.patient for one in drawn.lesions} & {
        one.patient for one in drawn.practice_lesions
    }
    assert len({one.seed for one in drawn.every_drawing}) == 9


def test_drawings_put_in_place_of_others_stay_in_study_and_practice(session):
    studies.make_generators(session)
    studies.make_known_lesions(session, 3)
    wish = replace(WISH, design=Design(practice=6)).checked()
    found = Available.of(session, wish)
    drawn = Drawn.of(found, Shares.of(wish, found, KEYS), Seeds(1), wish.design.task)
    other = [replace(one, seed=number) for number, one in enumerate(drawn.every_drawing)]
    changed = drawn.with_drawings(other)
    assert [one.seed for one in changed.drawings] == list(range(6))
    assert [one.seed for one in changed.practice_drawings] == [6, 7, 8]
    assert changed.lesions == drawn.lesions


# -- compare, describe ----------------------------------------------------------------------------


def test_without_a_way_to_draw_near_ones_cannot_be_left_out(session):
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    wish = replace(WISH, design=Design(exclude_near=True))
    with pytest.raises(Unreadable, match="cannot be compared"):
        Composition.choose(session, wish)
    told = Composition.choose(session, wish, studies.draw)
    assert told.plan.sources.likeness.drawn_anew == 0
    assert "No synthetic image was drawn anew" in " ".join(told.notes)


def test_what_is_drawn_in_one_order_is_compared_in_the_same(session):
    """Which of two is drawn anew hangs on the place, so a mixed-up order would show here."""
    studies.make_generators(session)
    lesions = studies.make_known_lesions(session, 2)
    copied = lesions[0].roi(session, (-150.0, 250.0)).pixels
    plain = Composition.choose(session, WISH).plan.images.synthetic
    stolen = plain[3].seed

    def thief(session, checkpoint, seeds):
        drawn = studies.draw(session, checkpoint, seeds)
        for place, seed in enumerate(seeds):
            if seed == stolen:
                drawn[place] = np.flip(copied, 1)
        return drawn

    near = replace(WISH, design=Design(exclude_near=True, near_limit=0.95))
    found = Composition.choose(session, near, thief).plan.images.synthetic
    assert [one.seed == other.seed for one, other in zip(plain, found, strict=True)] == [
        True, True, True, False, True, True,
    ]  # fmt: skip


# -- chosen by hand ------------------------------------------------------------------------------


GENERATORS = {key: f"{studies.SOURCE_WORD}-phantom-{key}" for key in KEYS}


def test_chosen_images_are_among_those_of_their_class_and_chance_draws_the_rest(session):
    rows = {row.lesion_class: row for row in studies.make_generators(session)}
    studies.make_known_lesions(session, 2)
    wish = replace(WISH, chosen={GENERATORS["cyst"]: (7,), GENERATORS["hemangioma"]: (7, 2)})
    found = Composition.choose(session, wish)
    shown = [(one.checkpoint, one.lesion_class, one.seed) for one in found.plan.images.synthetic]
    for key, seed in (("cyst", 7), ("hemangioma", 7), ("hemangioma", 2)):
        assert (rows[key].id, key, seed) in shown
    assert [key for _, key, _ in shown].count("cyst") == 2 and len(set(shown)) == 6
    assert found.plan.sources.chosen == 3
    assert any("Chosen by hand: 3 of the 6 synthetic images." in note for note in found.notes)
    again = Plan.from_json(found.plan.to_json())
    assert again == found.plan
    plain = Composition.choose(session, WISH)
    assert "chosen" not in plain.plan.to_json()["sources"]  # nothing is written where none was


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"chosen": {GENERATORS["cyst"]: (1, 2, 3)}}, "3 synthetic images of the class cyst"),
        ({"chosen": {GENERATORS["cyst"]: (2**60,)}}, "Choose a seed"),
        ({"chosen": {"phantom-cnn": (1,)}}, "is no served generator of the scheme"),
        (
            {"chosen": {GENERATORS["cyst"]: (1,)}, "real": 0, "design": Design(
                task=Task.PREFERENCE, lesion_class=False
            )},
            "Choose none by hand for a study of preferences",
        ),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_shown_is_refused(wrong, said, session):
    Checkpoint.register_shipped(session)
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    with pytest.raises(Unreadable, match=said):
        Composition.choose(session, replace(WISH, kind="phantom", **wrong))


def test_a_chosen_image_that_is_too_like_a_real_one_is_refused_and_none_put_in_its_place(session):
    studies.make_generators(session)
    lesions = studies.make_known_lesions(session, 2)
    copied = lesions[0].roi(session, (-150.0, 250.0)).pixels

    def thief(session, checkpoint, seeds):
        drawn = studies.draw(session, checkpoint, seeds)
        for place, seed in enumerate(seeds):
            if seed == 5:
                drawn[place] = copied
        return drawn

    design = Design(exclude_near=True, near_limit=0.95)
    wish = replace(WISH, design=design, chosen={GENERATORS["cyst"]: (4, 5)})
    with pytest.raises(Unreadable, match=f"chosen by hand: {GENERATORS['cyst']} 5"):
        Composition.choose(session, wish, thief)


def test_what_is_typed_for_a_choice_is_read_or_refused_with_the_line():
    text = "  a-cyst 3 7,12\r\n\nb 0\n"
    assert seeds_of(text) == {"a-cyst": (3, 7, 12), "b": (0,)}
    assert seeds_of(said_seeds(seeds_of(text))) == seeds_of(text) and seeds_of("") == {}
    for wrong, said in (
        ("a-cyst", "as in 'phantom-diffusion-cyst 3 7 12', not 'a-cyst'"),
        ("a 1\na 2", "not 'a 2'"),
        ("a 1 1", "seed 1 of a is chosen twice"),
        ("a -1", "a seed of a as a whole number"),
    ):
        with pytest.raises(Unreadable, match=said):
            seeds_of(wrong)
