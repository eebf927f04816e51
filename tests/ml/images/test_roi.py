"""What makes an ROI, and what is refused."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from ml.images import roi
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box, BoxError, PixelError, RoiError, View, ViewError

WINDOW = (-150.0, 250.0)


def noise(rows: int = 512, columns: int = 512, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1024, 1500, (rows, columns)).astype(np.int16)


def smooth(rows: int = 512, columns: int = 512) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns]
    return (60 * np.sin(x / 17) + 40 * np.cos(y / 11) + 0.1 * x).astype(np.int16)


def ct(pixels: np.ndarray, spacing_mm: tuple[float, float] | None = (0.75, 0.75)) -> CTSlice:
    return CTSlice(pixels, True, spacing_mm)


def grey(pixels: np.ndarray) -> CTSlice:
    return CTSlice(pixels, False)


@pytest.mark.parametrize(
    "numbers",
    [
        (10, 10, 0, 5),
        (10, 10, 5, -1),
        (math.nan, 1, 5, 5),
        (1, math.inf, 5, 5),
        (1, 1, math.inf, 5),
    ],
)
def test_a_box_of_no_size_or_not_finite_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(BoxError):
        Box(*numbers)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(600, 600, 20, 20), "centre"),
        (Box(-30, 5, 20, 20), "centre"),
        (Box(-5, 5, 20, 20), "reaches outside"),
        (Box(500, 500, 20, 20), "reaches outside"),
        (Box(20, 20, 1.5, 1.5), "under 2 pixels"),
    ],
)
def test_a_box_off_the_image_or_too_small_is_refused(box: Box, words: str) -> None:
    with pytest.raises(BoxError, match=words):
        roi.make(ct(noise()), box, WINDOW)


def test_a_diameter_in_mm_without_spacing_is_refused() -> None:
    with pytest.raises(BoxError, match="pixel spacing"):
        Box.around(100, 100, 30, None)


@pytest.mark.parametrize("diameter", [0, -3, math.nan, math.inf])
def test_an_impossible_diameter_is_refused(diameter: float) -> None:
    with pytest.raises(BoxError):
        Box.around(100, 100, diameter, (0.7, 0.7))


def test_an_image_that_is_not_64_by_64_needs_a_box() -> None:
    with pytest.raises(BoxError, match="65 × 64"):
        roi.make(grey(np.zeros((64, 65), np.uint8)), None, WINDOW)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused_where_they_count(value: float) -> None:
    pixels = np.zeros((200, 200), np.float32)
    pixels[100, 100] = value
    with pytest.raises(PixelError, match="NaN"):
        roi.cut(pixels, Box(90, 90, 20, 20), None, 0)
    with pytest.raises(PixelError, match="NaN"):
        roi.cut(pixels, Box(90, 90, 20, 20), None, 0, View(angle_deg=30))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tissue": 0.5},
        {"tissue": -0.1},
        {"shift_px": (5, 0)},
        {"shift_px": (0, math.nan)},
        {"angle_deg": math.nan},
    ],
)
def test_a_view_wider_than_what_is_kept_is_refused(wrong: dict) -> None:
    with pytest.raises(ViewError):
        View(**wrong)


@pytest.mark.parametrize("window", [(250, -150), (0, 0), (math.nan, 1), (0, math.inf)])
def test_an_impossible_window_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(RoiError, match="window"):
        roi.normalise(np.zeros((2, 2)), window)


def test_spacing_too_unequal_for_a_square_is_refused() -> None:
    with pytest.raises(BoxError, match="spacing"):
        roi.make(ct(noise(), (0.00001, 0.7)), Box(100, 100, 50, 50), WINDOW)


def test_the_square_is_1_56_times_the_longer_side_around_the_centre() -> None:
    square = roi.square(Box(100, 200, 50, 30), None)
    assert square.center == (125, 215)
    assert (square.width, square.height) == pytest.approx((78, 78), abs=1 / 512)


def test_the_square_is_square_in_mm() -> None:
    made = roi.make(ct(noise(), (1.0, 0.5)), Box(200, 200, 40, 30), WINDOW)
    assert made.side_mm == pytest.approx(30 * 1.56, abs=0.01)
    assert made.square.width == pytest.approx(2 * made.square.height, abs=0.01)


def test_a_diameter_in_mm_is_a_box_in_pixels() -> None:
    box = Box.around(100, 80, 30, (1.0, 0.5))
    assert box.center == (100, 80)
    assert (box.width, box.height) == (60, 30)


def test_the_roi_is_pillows_antialiased_bicubic_of_the_whole_slice() -> None:
    pixels = noise()
    for size in (12.0, 41.3, 130.0):
        box = Box(200.25, 180.5, size, size * 0.8)
        half = size * 0.78
        x, y = box.center
        expected = np.asarray(
            Image.fromarray(pixels.astype(np.float32)).resize(
                (64, 64), Image.Resampling.BICUBIC, box=(x - half, y - half, x + half, y + half)
            )
        )
        np.testing.assert_allclose(roi.cut(pixels, box, None, -1024), expected, atol=4)


def test_a_slice_goes_on_as_air_and_the_user_is_told() -> None:
    slice_hu = np.full((128, 128), roi.AIR_HU, np.int16)
    slice_hu[2:-2, 2:-2] = 50
    made = roi.make(ct(slice_hu), Box(0, 0, 60, 60), WINDOW)
    assert made.pixels[0, 0] == -1
    assert made.pixels[63, 63] == pytest.approx(0)
    assert any("outside the image and is filled with air" in text for text in made.warnings)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.uint16])
def test_what_was_cut_out_of_a_slice_is_mirrored_and_nowhere_black(dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(100, 200, (72, 65)).astype(dtype)
    box, (rows, columns) = Box(13, 13, 44, 46), pixels.shape
    fill = roi.beyond(pixels)
    assert fill is None
    crop, (left, top) = roi.context(pixels, box, None, fill)
    assert crop.min() >= 100
    for row, column in ((-1, -1), (-5, 80), (75, -3), (rows, columns)):
        inside = [  # the edge pixel is repeated, then the second
            -place - 1 if place < 0 else 2 * length - 1 - place if place >= length else place
            for place, length in ((row, rows), (column, columns))
        ]
        assert crop[row - top, column - left] == pixels[inside[0], inside[1]]
    view = View(angle_deg=45, tissue=0.4)
    found = roi.cut(pixels, box, None, fill, view)
    assert found.min() > 80  # bicubic undershoot, no black
    assert np.array_equal(found, roi.cut(crop, box.moved(-left, -top), None, None, view))
    if dtype != np.int16:
        told = roi.make(grey(pixels), Box(0, 0, 44, 46), WINDOW).warnings
        assert any("mirrored at its edge" in text for text in told)


def test_the_warnings_of_the_slice_reach_the_roi() -> None:
    told = CTSlice(noise(), True, None, warnings=("No spacing.",))
    made = roi.make(told, Box(200, 200, 50, 50), WINDOW)
    assert made.warnings == ("No spacing.",)
    assert made.side_mm is None
    assert made.side_px == pytest.approx(78, abs=0.01)


def test_hounsfield_units_are_clipped_to_the_window() -> None:
    values = roi.normalise(np.array([-2000, -150, 50, 250, 3000]), WINDOW)
    assert values.dtype == np.float32
    assert values.tolist() == [-1, -1, 0, 1, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_mapped_from_the_full_range_of_its_type(dtype: type) -> None:
    top = np.iinfo(dtype).max
    pixels = np.linspace(0, top, 64 * 64).reshape(64, 64).astype(dtype)
    made = roi.make(grey(pixels), None, WINDOW)
    assert not made.calibrated
    assert made.box is None
    np.testing.assert_allclose(made.pixels, pixels / top * 2 - 1, atol=1e-6)


def test_a_64_by_64_image_is_the_roi_itself_also_by_its_own_box() -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (64, 64)).astype(np.uint16)
    plain = roi.make(grey(pixels), None, WINDOW).pixels
    boxed = roi.make(grey(pixels), roi.whole(64, 64), WINDOW).pixels
    assert np.array_equal(plain, boxed)


def test_the_identity_view_is_the_plain_roi() -> None:
    pixels, box = noise(), Box(200.3, 150.7, 33, 41)
    plain = roi.cut(pixels, box, (0.7, 0.7), -1024)
    assert np.array_equal(plain, roi.cut(pixels, box, (0.7, 0.7), -1024, View()))
    assert np.array_equal(plain, roi.cut(pixels, box, (0.7, 0.7), -1024, View(angle_deg=360)))


def test_flips_mirror_the_roi() -> None:
    pixels, box = noise(), Box(200.3, 150.7, 33, 41)
    plain = roi.cut(pixels, box, None, 0)
    assert np.array_equal(roi.cut(pixels, box, None, 0, View(flip_ud=True)), plain[::-1])
    assert np.array_equal(roi.cut(pixels, box, None, 0, View(flip_lr=True)), plain[:, ::-1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_turns_counter_clockwise(quarters: int) -> None:
    pixels, box = smooth(), Box(200, 150, 60, 60)
    turned = roi.cut(pixels, box, None, 0, View(angle_deg=90.0 * quarters))
    plain = roi.cut(pixels, box, None, 0)
    np.testing.assert_allclose(turned, np.rot90(plain, quarters), atol=0.6)


def test_turning_follows_the_tissue_where_pixels_are_not_square() -> None:
    y, x = np.mgrid[:256, :512]
    dx, dy = (x + 0.5 - 256) * 0.5, (y + 0.5 - 128) * 1.0
    disc = (100.0 * ((dx - 12) ** 2 + dy**2 < 6**2)).astype(np.float32)
    box = Box.around(256, 128, 40, (1.0, 0.5))
    for angle in (0.0, 90.0, 37.0):
        picture = roi.cut(disc, box, (1.0, 0.5), 0, View(angle_deg=angle))
        rows, columns = np.mgrid[:64, :64] + 0.5 - 32
        weight = picture / picture.sum()
        scale = 40 * 1.56 / 64
        center = np.array([(columns * weight).sum(), (rows * weight).sum()]) * scale
        expected = 12 * np.array([math.cos(math.radians(angle)), -math.sin(math.radians(angle))])
        np.testing.assert_allclose(center, expected, atol=0.15)
        assert weight.sum() == pytest.approx(1)
        area = (picture > 50).sum() * scale**2
        assert area == pytest.approx(math.pi * 36, rel=0.1)


def test_turned_corners_hold_tissue_not_wedges() -> None:
    pixels = np.full((512, 512), 60, np.int16)
    for angle in (15, 45, 133):
        turned = roi.cut(pixels, Box(200, 200, 80, 80), None, -1024, View(angle_deg=angle))
        np.testing.assert_allclose(turned, 60, atol=1e-3)


def test_a_shift_moves_the_square_on_the_slice() -> None:
    pixels, box = noise(), Box(200, 150, 40, 40)
    shifted = roi.cut(pixels, box, None, 0, View(shift_px=(3, -2)))
    assert np.array_equal(shifted, roi.cut(pixels, box.moved(3, -2), None, 0))


def test_tissue_widens_the_square_on_each_side() -> None:
    square = roi.square(Box(200, 200, 50, 50), None, View(tissue=0.4))
    assert square.width == pytest.approx(50 * (1 + 2 * 0.68), abs=0.01)


def test_an_roi_from_a_context_is_bit_equal_to_one_from_the_slice() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        spacing = None if rng.random() < 0.3 else tuple(rng.uniform(0.5, 1.2, 2))
        pixels = noise(rows=int(rng.integers(90, 300)), columns=int(rng.integers(90, 300)))
        rows, columns = pixels.shape
        width, height = rng.uniform(2, 80, 2)
        box = Box(rng.uniform(0, columns - width), rng.uniform(0, rows - height), width, height)
        crop, (left, top) = roi.context(pixels, box, spacing, -1024)
        assert crop.dtype == pixels.dtype
        for extreme in (True, False):
            view = View(
                angle_deg=rng.uniform(0, 360) if rng.random() < 0.8 else 0.0,
                flip_ud=bool(rng.random() < 0.5),
                flip_lr=bool(rng.random() < 0.5),
                shift_px=tuple(rng.choice([-4, 4], 2) if extreme else rng.uniform(-4, 4, 2)),
                tissue=0.4 if extreme else rng.uniform(0, 0.4),
            )
            assert np.array_equal(
                roi.cut(pixels, box, spacing, -1024, view),
                roi.cut(crop, box.moved(-left, -top), spacing, -12345, view),
            )


def test_the_context_of_an_roi_image_is_mirrored_so_that_no_view_has_black_wedges() -> None:
    pixels = np.random.default_rng(2).integers(1000, 60000, (64, 64)).astype(np.uint16)
    box = roi.whole(64, 64)
    crop, (left, top) = roi.context(pixels, box, None, None)
    assert crop.min() >= 1000
    moved = box.moved(-left, -top)
    assert np.array_equal(roi.cut(crop, moved, None, 0), pixels.astype(np.float32))
    view = View(angle_deg=45, tissue=0.4)
    smoothest = roi.cut(np.full_like(crop, 30000), moved, None, 0, view)
    np.testing.assert_allclose(smoothest, 30000, rtol=1e-5)
    even = (pixels // 3 + 20000).astype(np.uint16)
    made = roi.make(grey(even), None, WINDOW, View(angle_deg=45))
    assert made.pixels.min() > -1


def test_a_tall_box_reaches_the_same_from_a_context() -> None:
    pixels = noise(400, 400)
    made = roi.make(ct(pixels), Box(10, 100, 6, 200), WINDOW)
    assert made.pixels.shape == (64, 64)
    assert made.side_px == pytest.approx(312, abs=0.01)


def test_png_keeps_an_roi_to_half_a_grey_level_and_carries_no_metadata() -> None:
    values = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    data = roi.to_png(values)
    back = roi.from_png(data)
    assert np.abs(back - values).max() <= 1 / 255 + 1e-6
    assert (back[0, 0], back[-1, -1]) == (-1, 1)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "L"
        assert picture.info == {}


@pytest.mark.parametrize("data", [b"", b"no png", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_roi_png_is_refused(data: bytes) -> None:
    with pytest.raises(PixelError):
        roi.from_png(data)


def saved(array: np.ndarray, **more: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **({"rois": array} | more))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((2, 64, 64), np.nan, np.float32), "NaN"),
        (np.zeros((2, 32, 32), np.float32), "shape"),
        (np.full((1, 64, 64), 300.0), "map them"),
        (np.zeros((1, 64, 64), "U3"), "not numbers"),
    ],
)
def test_a_bad_array_of_rois_is_refused_by_name(array: np.ndarray, words: str) -> None:
    with pytest.raises(PixelError, match=f"rois.npz.*{words}"):
        roi.load(saved(array), "rois.npz")


def test_an_array_file_that_lies_or_holds_objects_is_refused() -> None:
    good = io.BytesIO()
    np.save(good, np.zeros((3, 64, 64), np.float32))
    for cut_at in (0, 5, 60, 200, len(good.getvalue()) - 1):
        with pytest.raises(PixelError):
            roi.load(good.getvalue()[:cut_at], "x.npy")
    with pytest.raises(PixelError):
        roi.load(good.getvalue().replace(b"(3, 64", b"(9, 64"), "x.npy")
    objects = io.BytesIO()
    np.save(objects, np.array([{}]), allow_pickle=True)
    with pytest.raises(PixelError):
        roi.load(objects.getvalue(), "x.npy")
    bomb = saved(np.zeros((20_000, 64, 64), np.float32))
    with pytest.raises(PixelError, match="at most"):
        roi.load(bomb, "x.npz")
    with pytest.raises(PixelError, match="none is named"):
        roi.load(_two_others(), "x.npz")


def _two_others() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(1), b=np.zeros(1))
    return stream.getvalue()


def test_arrays_of_rois_are_loaded_as_n_64_64() -> None:
    values = np.random.default_rng(3).uniform(-1, 1, (2, 64, 64)).astype(np.float32)
    assert np.array_equal(roi.load(saved(values), "x.npz"), values)
    stream = io.BytesIO()
    np.save(stream, values[0])
    assert roi.load(stream.getvalue(), "x.npy").shape == (1, 64, 64)


def test_an_npz_that_unpacks_to_too_much_is_refused_before_it_is_read() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, rois=np.zeros((30_000, 64, 64), np.float32))
    with pytest.raises(PixelError, match="unpacks to"):
        roi.load(stream.getvalue(), "bomb.npz")


def test_a_roi_of_one_shade_says_so() -> None:
    flat = np.full((96, 96), 3000, np.int16)
    flat[0, 0] = -1000
    found = roi.make(CTSlice(flat, True, (0.7, 0.7)), roi.Box(30, 30, 20, 20))
    assert any("one shade of grey" in text for text in found.warnings)
    varied = np.random.default_rng(0).normal(50, 30, (96, 96)).astype(np.int16)
    assert roi.make(CTSlice(varied, True, (0.7, 0.7)), roi.Box(30, 30, 20, 20)).warnings == ()


def test_a_range_of_greys_takes_the_warning_of_a_narrow_picture_back() -> None:
    told = ("The picture uses only 3 % of its 16-bit grey range.",)
    greys = np.random.default_rng(0).integers(0, 2000, (64, 64)).astype(np.uint16)
    ct_slice = CTSlice(greys, False, warnings=told)
    assert roi.make(ct_slice, None).warnings[0] == told[0]
    assert roi.make(ct_slice, None, grey_range=(0, 2048)).warnings == ()


def test_grey_goes_from_black_to_white_and_rounds_halves_to_even() -> None:
    steps = np.array([-1, 1, 0, -7, 7], np.float64)
    assert roi.to_grey(steps).tolist() == [0, 255, 128, 0, 255]
    assert roi.to_grey(np.zeros((2, 3), np.float32)).dtype == np.uint8
