"""One stack holds one orientation, one acquisition, one kernel, one time, from head to foot."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ml.images.stack import Placement, Stack, mixture, stacks

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def at(number: int | None, place: float | None, **more: Any) -> Placement:
    tags = more.pop("tags", {})
    known: dict[str, Any] = {
        "sop_uid": f"1.{number}.{more}{tags}",
        "frame": 1,
        "instance_number": number,
        "orientation": AXIAL,
        "position_mm": place,
        "size": (512, 512),
        "spacing_mm": (0.7, 0.7),
        "calibrated": True,
        "acquired": "",
    }
    return Placement(**{**known, **more}, tags=tags)


def numbers(images: list[Placement]) -> list[list[int | None]]:
    """Instance numbers of every stack, whatever the order in which the images come."""
    found: list[list[list[int | None]]] = []
    for seed in range(5):
        mixed = random.Random(seed).sample(images, len(images))
        found.append(
            [[mixed[index].instance_number for index in stack.order] for stack in stacks(mixed)]
        )
    assert all(one == found[0] for one in found)
    return found[0]


def remarks(images: list[Placement]) -> str:
    return " ".join(text for stack in stacks(images) for text in stack.remarks)


def test_no_images_make_no_stack() -> None:
    assert stacks([]) == []


def test_slices_run_from_head_to_foot() -> None:
    assert numbers([at(n, 5.0 * n) for n in (1, 2, 3)]) == [[3, 2, 1]]


@pytest.mark.parametrize(
    "other",
    [
        {"orientation": CORONAL},
        {"size": (256, 256)},
        {"spacing_mm": (0.8, 0.8)},
        {"spacing_mm": None},
        {"calibrated": False},
        {"orientation": None, "position_mm": None},
        {"tags": {"ConvolutionKernel": "B60f"}},
        {"tags": {"AcquisitionNumber": "2"}},
        {"tags": {"KVP": "80"}},
        {"tags": {"TemporalPositionIdentifier": "2"}},
        {"tags": {"NominalPercentageOfCardiacPhase": "70"}},
        {"tags": {"FrameOfReferenceUID": "9.9"}},
        {"tags": {"ImageType": "DERIVED\\SECONDARY\\AXIAL\\MPR"}},
        {"tags": {"SliceThickness": "10"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("offset", [0.0, 2.5, 40.0])
def test_what_does_not_belong_together_is_a_stack_of_its_own(other: dict, offset: float) -> None:
    first = [at(n, 5.0 * n) for n in (1, 2, 3)]
    place = {"position_mm": None} if "position_mm" in other else {}
    second = [at(n, 5.0 * n + offset, **{**other, **place}) if not place
              else Placement(**{**vars(at(n, 0.0)), **other}) for n in (4, 5, 6)]  # fmt: skip
    found = numbers(first + second)
    assert sorted(map(sorted, found)) == [[1, 2, 3], [4, 5, 6]]
    assert "2 stacks" in mixture(stacks(first + second))


def test_cosines_that_differ_in_their_last_digits_are_one_direction() -> None:
    tilted = (1.0, 0.0, 0.0, 0.0, 0.9699998, -0.2431)
    nearly = (1.0, 0.0, 0.0, 0.0, 0.9700001, -0.2430)
    assert numbers([at(1, 0.0, orientation=tilted), at(2, 5.0, orientation=nearly)]) == [[2, 1]]


def test_a_thickness_written_in_two_ways_is_one() -> None:
    images = [
        at(number, 5.0 * number, tags={"SliceThickness": text})
        for number, text in ((1, "2.5"), (2, "2.50"))
    ]
    assert len(numbers(images)) == 1


def test_a_scan_in_steps_is_one_stack() -> None:
    assert numbers([at(n, 5.0 * n, tags={"AcquisitionNumber": str(n)}) for n in (1, 2, 3)]) == [
        [3, 2, 1]
    ]


def test_two_passes_over_the_same_places_never_alternate() -> None:
    images = [at(n, 5.0 * ((n - 1) % 3)) for n in range(1, 7)]
    assert numbers(images) == [[3, 2, 1], [6, 5, 4]]
    assert "pass 2" in mixture(stacks(images))


def test_one_repeated_slice_stands_apart() -> None:
    images = [at(n, 5.0 * n) for n in (1, 2, 3)] + [at(4, 10.0)]
    assert numbers(images) == [[3, 2, 1], [4]]


def test_two_times_that_lie_in_and_out_of_each_other_are_two_stacks() -> None:
    early = [at(n, 10.0 * n, acquired="8:00") for n in (1, 2, 3)]
    late = [at(n, 10.0 * (n - 3) + 5, acquired="8:01") for n in (4, 5, 6)]
    assert sorted(map(sorted, numbers(early + late))) == [[1, 2, 3], [4, 5, 6]]
    helical = [at(n, 5.0 * n, acquired=f"8:00:0{n}") for n in range(1, 7)]
    assert len(numbers(helical)) == 1


def test_missing_positions_are_filled_by_instance_numbers_and_said() -> None:
    places = {1: 0.0, 2: None, 3: 10.0, 4: 15.0, 5: None, 6: 25.0}
    images = [at(n, place) for n, place in places.items()]
    assert numbers(images) == [[6, 5, 4, 3, 2, 1]]
    assert "2 of 6 images state no position" in remarks(images)


def test_missing_positions_that_numbers_cannot_fill_stand_at_the_end_and_are_said() -> None:
    images = [at(1, 0.0), at(2, None), at(3, 20.0), at(4, 10.0)]
    assert numbers(images) == [[3, 4, 1, 2]]
    assert "stand at the end" in remarks(images)


def test_without_any_position_the_numbers_order_and_doubt_is_said() -> None:
    assert numbers([at(n, None) for n in (3, 1, 2)]) == [[1, 2, 3]]
    assert "Neither positions nor numbers" in remarks([at(None, None), at(None, None)])


def test_pictures_keep_the_order_in_which_they_came() -> None:
    pictures = [
        at(None, None, orientation=None, calibrated=False, sop_uid=f"picture.{n}") for n in range(4)
    ]
    assert stacks(pictures) == [Stack((0, 1, 2, 3))]


def test_frames_of_one_object_that_state_one_place_keep_their_order() -> None:
    frames = [at(7, 5.0, frame=n, sop_uid="1.2") for n in (3, 1, 2)]
    (found,) = stacks(frames)
    assert [frames[index].frame for index in found.order] == [1, 2, 3]


def test_a_gap_is_said() -> None:
    assert "1 gap" in remarks([at(n, 5.0 * n) for n in (1, 2, 3, 6, 7)])
    assert remarks([at(n, 5.0 * n) for n in (1, 2, 3)]) == ""


def test_two_scans_that_alternate_by_place_are_told_apart_by_their_numbers() -> None:
    first = [at(n, 5.0 * n, acquired=f"8:00:0{n}") for n in (1, 2, 3)]
    second = [at(n, 5.0 * (n - 3) + 2.5, acquired=f"8:01:0{n}") for n in (4, 5, 6)]
    assert numbers(first + second) == [[3, 2, 1], [6, 5, 4]]
    assert "run 2 of the instance numbers" in mixture(stacks(first + second))


def test_numbers_that_follow_no_run_are_told_and_split_nothing() -> None:
    images = [at(n, 5.0 * place) for place, n in enumerate((3, 1, 5, 2, 4))]
    assert len(stacks(images)) == 1
    assert "do not run along the places" in remarks(images)


@pytest.mark.parametrize(
    "places", [(0, 5, 10, 15), (15, 10, 5, 0), (0, 5, 100, 105), (100, 105, 0, 5)]
)
def test_numbers_that_run_along_the_places_split_nothing(places: tuple[float, ...]) -> None:
    images = [at(n, place) for n, place in enumerate(places, 1)]
    assert len(stacks(images)) == 1
    assert "instance numbers" not in remarks(images).lower()


def test_places_that_two_programs_write_otherwise_are_one() -> None:
    images = [at(n, 5.0 * n + 0.0049) for n in (1, 2, 3)]
    images += [at(n + 3, 5.0 * n + 0.0051) for n in (1, 2, 3)]
    assert numbers(images) == [[3, 2, 1], [6, 5, 4]]


@pytest.mark.parametrize("keyword", ["SeriesNumber", "StackID", "ContrastBolusAgent"])
def test_series_stacks_and_contrast_agents_are_not_mixed(keyword: str) -> None:
    images = [at(2 * n + turn, 5.0 * n + 2.5 * turn, tags={keyword: f"{turn}"})
              for n in range(3) for turn in (0, 1)]  # fmt: skip
    assert sorted(map(sorted, numbers(images))) == [[0, 2, 4], [1, 3, 5]]


def test_frames_of_one_object_at_the_same_places_never_alternate() -> None:
    frames = [
        at(1, 5.0 * (n // 2), frame=n + 1, sop_uid="1.2.3") for n in range(6)
    ]  # art, portal, art, portal …
    found = [[frames[index].frame for index in stack.order] for stack in stacks(frames)]
    assert found == [[5, 3, 1], [6, 4, 2]]


def test_passes_that_numbers_do_not_tell_apart_are_said_to_be_unsure() -> None:
    images = [at(n, 5.0 * n, sop_uid=f"{turn}.{n}") for n in (1, 2) for turn in (1, 2)]
    assert len(stacks(images)) == 2
    assert "Which image belongs to which pass is not known" in remarks(images)
