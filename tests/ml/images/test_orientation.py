"""Letters, planes and reading order from direction cosines."""

from __future__ import annotations

import pytest

from ml.images import orientation
from ml.images.orientation import Edges, Plane

AXIAL = (1, 0, 0, 0, 1, 0)
TURNED = (-1, 0, 0, 0, -1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)


@pytest.mark.parametrize(
    ("cosines", "edges"),
    [
        (AXIAL, Edges("R", "L", "A", "P")),
        (TURNED, Edges("L", "R", "P", "A")),
        (CORONAL, Edges("R", "L", "H", "F")),
        (SAGITTAL, Edges("A", "P", "H", "F")),
        ((0, 1, 0, 1, 0, 0), Edges("A", "P", "R", "L")),  # transposed
    ],
)
def test_the_letters_say_what_lies_beyond_each_edge(cosines: tuple, edges: Edges) -> None:
    assert orientation.edges(cosines) == edges


def test_an_oblique_direction_has_two_letters_the_nearer_first() -> None:
    found = orientation.edges((0.8, 0.6, 0, -0.6, 0.8, 0))
    assert (found.right, found.left, found.bottom, found.top) == ("LP", "RA", "PR", "AL")


@pytest.mark.parametrize(
    ("cosines", "plane"),
    [
        (AXIAL, Plane.AXIAL),
        (TURNED, Plane.AXIAL),
        (CORONAL, Plane.CORONAL),
        (SAGITTAL, Plane.SAGITTAL),
        ((1, 0, 0, 0, 0.9063, -0.4226), Plane.AXIAL),  # a gantry tilted by 25 degrees
        ((1, 0, 0, 0, 0.7071, -0.7071), Plane.OBLIQUE),
    ],
)
def test_a_slice_is_named_by_the_plane_next_to_it(cosines: tuple, plane: Plane) -> None:
    assert orientation.plane(cosines) is plane


@pytest.mark.parametrize(
    "cosines",
    [(0,) * 6, (1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (1, 0, 0, 0, 1), (1, 0, 0, 0.2, 1, 0)],
)
def test_what_is_no_pair_of_unit_vectors_at_right_angles_is_none(cosines: tuple) -> None:
    assert not orientation.is_orientation(cosines)


def test_reading_runs_from_head_to_foot_whichever_way_the_normal_points() -> None:
    mirrored = (-1, 0, 0, 0, 1, 0)  # its normal points to the feet
    for cosines in (AXIAL, TURNED, mirrored):
        head, foot = (
            orientation.along_normal(cosines, (0, 0, z)) * orientation.reading_sign(cosines)
            for z in (100, -100)
        )
        assert head < foot
    front, back = (
        orientation.along_normal(CORONAL, (0, y, 0)) * orientation.reading_sign(CORONAL)
        for y in (-50, 50)
    )
    assert front < back


@pytest.mark.parametrize(
    ("cosines", "place"),
    [
        (AXIAL, ("z", 30.0)),
        (TURNED, ("z", 30.0)),
        ((-1, 0, 0, 0, 1, 0), ("z", 30.0)),  # its normal points to the feet; the table does not
        (CORONAL, ("y", 20.0)),
        (SAGITTAL, ("x", 10.0)),
        ((0.7071068, 0.7071068, 0, 0, 0, -1), None),
    ],
)
def test_a_slice_lies_where_the_table_says_whichever_way_its_normal_points(
    cosines: tuple, place: tuple[str, float] | None
) -> None:
    assert orientation.coordinate(cosines, (10.0, 20.0, 30.0)) == place
