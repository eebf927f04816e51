"""The healthy patient: a torso whose organs are smooth surfaces, continuous through z.

Shapes are written in a standard torso (inner half-widths ``HALF_WIDTH`` × ``HALF_DEPTH`` mm) and
scaled and warped to each patient. Heights: z = 0 at the porta hepatis, the liver from about −85 to
+95 mm. The liver is what lies between two height maps, the diaphragm above and the visceral surface
below, inside the body wall: so every slice cuts a shape that its neighbours continue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.ndimage

from ml.phantom import VERSION, Version
from ml.phantom.grid import Array, Floats, Grid, coverage, paint, refine
from ml.phantom.parenchyma import Mottle, hepatic_skeleton, portal_skeleton
from ml.phantom.tissues import RANGES
from ml.phantom.vessels import Skeleton, Vessels, grow

HALF_WIDTH, HALF_DEPTH = 135.0, 98.0
_NOISE_LEVELS = 12
_LEVEL_MM = 18.0
_SEPTUM_HU = 45.0
"""Of a septum above fat, as thin as a pixel sees it: the makers' estimate."""


def _softplus(t: Array, width: float) -> Array:
    return np.asarray(np.logaddexp(0.0, t / width) * width)


def _sigmoid(t: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(t, -30, 30))))


def _gauss(u: Array, v: Array, at: tuple[float, float], spread: tuple[float, float]) -> Array:
    return np.asarray(np.exp(-(((u - at[0]) / spread[0]) ** 2) - ((v - at[1]) / spread[1]) ** 2))


@dataclass(frozen=True)
class Ellipsoid:
    """``centre`` and ``radii`` in mm of the standard torso, turned in the plane by ``turn_deg``."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn_deg: float = 0.0

    @property
    def reach(self) -> float:
        """No point of it lies further from its centre in the plane, in mm of the standard torso."""
        return max(self.radii[:2])

    def distance(
        self, u: Array, v: Array, z: float, pixel: float, thickness: float
    ) -> tuple[Floats, Floats]:
        """Signed distance in mm (negative inside) and its span across one voxel, to first order.

        ``u`` and ``v`` of any shape and ``z`` in mm of the standard torso; ``pixel`` and
        ``thickness`` are the voxel's sides in mm.
        """
        c, s = np.cos(np.radians(self.turn_deg)), np.sin(np.radians(self.turn_deg))
        du, dv, dz = u - self.centre[0], v - self.centre[1], z - self.centre[2]
        a, b, h = self.radii
        p, q, r = (c * du + s * dv) / a, (c * dv - s * du) / b, dz / h
        level = np.sqrt(p * p + q * q + r * r) + 1e-3
        across = np.hypot(p / a, q / b) / level
        along = abs(r) / h / level
        slope = np.hypot(across, along) + 1e-6
        width = (pixel * across + thickness * along) / slope + 0.1 * pixel
        return ((level - 1) / slope).astype(np.float32), width.astype(np.float32)


def _cava(z: float) -> Ellipsoid:
    """The inferior vena cava as it crosses the plane at z, in mm of the standard torso."""
    return Ellipsoid((-32 + 0.05 * z, 17 - 0.02 * z, z), (13.5, 10.5, 400), -20)


@dataclass(frozen=True)
class Loop:
    """A piece of bowel: its wall, and what it holds (``gas``, ``fluid`` or ``stool``)."""

    shape: Ellipsoid
    content: str


@dataclass(frozen=True)
class Build:
    """Size and fat of one patient (mm), and what varies in the organs."""

    inner_width: float
    inner_depth: float
    wall_mm: float
    fat_mm: tuple[float, float, float]
    dome_mm: float
    liver_drop: float
    left_lobe: float
    rib_phase: float
    disc_phase: float
    warp: tuple[tuple[float, float, float, float], ...]
    gas: float

    @classmethod
    def draw(cls, rng: np.random.Generator, roomy: bool) -> Build:
        """A patient by chance; ``roomy``: wide, with a large liver in which large lesions fit."""
        width = rng.uniform(134, 152) if roomy else rng.uniform(118, 148)
        fat = float(rng.gamma(2.2, 6.0)) + 5
        fat = min(fat, 34.0)
        warp = tuple(
            (
                float(rng.uniform(2.0, 4.0)) / (1 + i % 2),
                float(2 * np.pi / rng.uniform(110, 260)),
                float(rng.uniform(-0.8, 0.8)),
                float(rng.uniform(0, 2 * np.pi)),
            )
            for i in range(4)
        )
        return cls(
            inner_width=float(width),
            inner_depth=float(width * rng.uniform(0.69, 0.79)),
            wall_mm=float(rng.uniform(10, 14)),
            fat_mm=(fat, fat * float(rng.uniform(0.6, 1.2)), fat * float(rng.uniform(0.5, 0.9))),
            dome_mm=float(rng.uniform(86, 104) + (8 if roomy else 0)),
            liver_drop=float(rng.uniform(-8, 14) + (10 if roomy else 0)),
            left_lobe=float(rng.uniform(-22, 18)),
            rib_phase=float(rng.uniform(0, 28)),
            disc_phase=float(rng.uniform(0, 34)),
            warp=warp,
            gas=float(rng.uniform(0.1, 0.65)),
        )


def _attenuations(rng: np.random.Generator) -> dict[str, float]:
    """Mean HU of each tissue in this patient; one circulation sets all that enhances."""
    flow = rng.uniform()

    def within(name: str, share: float | None = None) -> float:
        low, high, _ = RANGES[name]
        return float(low + (high - low) * (rng.uniform() if share is None else share))

    def enhanced(name: str) -> float:
        return within(name, float(np.clip(0.75 * flow + 0.25 * rng.uniform(), 0, 1)))

    fatty = rng.uniform() < 0.2
    return {
        **{name: within(name) for name in RANGES},
        "liver": within("fatty_liver") if fatty else enhanced("liver"),
        **{name: enhanced(name) for name in ("spleen", "blood", "kidney", "pancreas")},
    }


class Anatomy:
    """One patient without lesions.

    ``paint(grid, z, thickness)`` gives a slice in HU; ``liver_distance`` tells where a lesion has
    room. What does not change through z is computed once per grid.
    """

    def __init__(
        self, rng: np.random.Generator, roomy: bool = False, version: Version = VERSION
    ) -> None:
        """Draw a patient; ``roomy`` asks for a large liver (for lesions of 60 mm and more)."""
        self.version = version
        self.build = Build.draw(rng, roomy)
        self._fissure_mm = 3.0 if version is Version.FIRST else float(rng.uniform(2.0, 5.5))
        self.hu: Mapping[str, float] = _attenuations(rng)
        self._scale = (
            self.build.inner_width / HALF_WIDTH,
            self.build.inner_depth / HALF_DEPTH,
        )
        self._organs = self._draw_organs(rng)
        self._loops = self._draw_loops(rng)
        noise = rng.standard_normal((_NOISE_LEVELS, 64, 64)).astype(np.float32)
        smooth = scipy.ndimage.gaussian_filter(noise, (0.5, 1.0, 1.0))
        self._texture: Floats = (smooth / smooth.std()).astype(np.float32)
        draw = self._draw_liver_vessels if version is Version.FIRST else self._draw_joining_vessels
        self.portal, self.hepatic = draw(rng)
        self.others = self._draw_other_vessels(rng)
        self.pulmonary = self._draw_lung_vessels(rng)
        self.mottle = None if version is Version.FIRST else Mottle(rng)
        self.falciform = 0.0 if version is Version.FIRST else float(rng.uniform(0.3, 0.9))
        """Share of fat in the ligament's sheet."""

    # the standard torso

    @property
    def half_body_mm(self) -> tuple[float, float]:
        """Half-width and half-depth of the skin."""
        b = self.build
        return (
            b.inner_width + b.wall_mm + b.fat_mm[0],
            b.inner_depth + b.wall_mm + max(b.fat_mm[1:]),
        )

    def standard(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Patient mm → mm of the standard torso, any shape."""
        u, v = x / self._scale[0], y / self._scale[1]
        bend_u, bend_v = self._bend(u, v)
        return u + bend_u, v + bend_v

    def patient(self, u: Array, v: Array) -> tuple[Array, Array]:
        """The inverse of ``standard``, within a millimetre."""
        bend_u, bend_v = self._bend(u, v)
        bend_u, bend_v = self._bend(u - bend_u, v - bend_v)
        return (u - bend_u) * self._scale[0], (v - bend_v) * self._scale[1]

    def _bend(self, u: Array, v: Array) -> tuple[Array, Array]:
        bend = [
            size * np.sin(rate * (u * np.cos(turn) + v * np.sin(turn)) + phase)
            for size, rate, turn, phase in self.build.warp
        ]
        return bend[0] + bend[1], bend[2] + bend[3]

    @staticmethod
    def wall_distance(u: Array, v: Array) -> Array:
        """Signed distance in mm to the inner surface of the body wall, negative inside.

        The spine stands into it. ``u`` and ``v`` in mm of the standard torso, any shape.
        """
        r = np.hypot(u, v) + 1e-6
        angle = np.arctan2(v, u)
        radius = (np.abs(u / r / HALF_WIDTH) ** 2.3 + np.abs(v / r / HALF_DEPTH) ** 2.3) ** (
            -1 / 2.3
        )
        spine = np.exp(-(((angle - np.pi / 2) / 0.50) ** 4))
        return np.asarray((r - radius * (1 - 0.70 * spine)) * 0.9)

    def diaphragm(self, u: Array, v: Array) -> Array:
        """Height in mm of the diaphragm: two domes and the central tendon between them.

        ``u`` and ``v`` in mm of the standard torso, any shape.
        """
        top = self.build.dome_mm
        right = ((u + 66) / 78) ** 2 + ((v + 16) / 88) ** 2
        left = ((u - 72) / 70) ** 2 + ((v + 8) / 90) ** 2
        tendon = ((u - 4) / 62) ** 2 + ((v + 34) / 74) ** 2
        domes = (
            top - 62 * np.minimum(right, 4) ** 1.25,
            top - 14 - 62 * np.minimum(left, 4) ** 1.25,
            top - 30 - 40 * np.minimum(tendon, 4) ** 1.3,
        )
        return np.asarray(6.0 * np.logaddexp.reduce([dome / 6.0 for dome in domes]))

    def visceral(self, u: Array, v: Array, fissures: bool = True) -> Array:
        """Height in mm of the liver's lower surface, with its impressions and fissures.

        ``u`` and ``v`` in mm of the standard torso, any shape.
        """
        b = self.build
        z = -84 - b.liver_drop + 0.66 * _softplus(u + 108, 8)
        # the left lobe thins out to the left, in front of the stomach
        z = z + 1.9 * _softplus(v + 16 + 0.42 * (u - 22), 7) * _sigmoid((u - 20) / 7)
        z = z + 2.2 * _softplus(u - 76 - b.left_lobe + 0.006 * (v + 58) ** 2, 9)
        # the kidney's bed opens to the spine, so that no island of fat looks like a lesion
        z = z + 70 * _sigmoid((u + 74 - 0.25 * (v - 60)) / 9) * _sigmoid((v - 38) / 9)
        z = z + 24 * _gauss(u, v, (-34, -34), (13, 24))
        z = z + 24 * _gauss(u, v, (-13, 2), (17, 8))
        if not fissures:
            return np.asarray(z)
        bow = 0.005 * (v + 62) ** 2
        wide = self._fissure_mm
        teres = np.exp(-(((u - 6 - 0.10 * (v + 50) - bow) / wide) ** 2)) * _sigmoid(-(v + 30) / 8)
        venosum = np.exp(-(((v + 7 - 0.25 * (u - 12)) / wide) ** 2)) * _sigmoid((u + 4) / 4)
        return np.asarray(z + 30 * teres + 22 * venosum)

    def liver_distance(self, points: Array) -> Array:
        """About the distance in mm from (n, 3) points to the liver's surface, negative inside."""
        u, v = self.standard(points[:, 0], points[:, 1])
        z = points[:, 2]
        wall = self.wall_distance(u, v) + 1
        roof = (z - self.diaphragm(u, v) + 4) * 0.62
        floor = (self.visceral(u, v) - z) * 0.62
        cava = 15 - np.hypot(u + 33, v - 19)
        return np.asarray(np.maximum.reduce([wall, roof, floor, cava]) * min(self._scale))

    # drawing what varies

    def _draw_organs(self, rng: np.random.Generator) -> dict[str, Ellipsoid]:
        def about(
            centre: tuple[float, float, float],
            radii: tuple[float, float, float],
            turn: float = 0.0,
            shift: float = 4.0,
        ) -> Ellipsoid:
            at = rng.normal(centre, shift)
            size = np.asarray(radii) * rng.uniform(0.9, 1.12, 3)
            return Ellipsoid(
                (float(at[0]), float(at[1]), float(at[2])),
                (float(size[0]), float(size[1]), float(size[2])),
                turn + float(rng.normal(0, 5)),
            )

        return {
            "heart": about((24, -40, 98), (62, 42, 50), 30),
            "stomach": about((62, -16, 26), (44, 34, 58), 38),
            "spleen": about((102, 36, 26), (36, 48, 54), 22),
            "right_kidney": about((-56, 56, -62), (25, 32, 52), 24),
            "left_kidney": about((58, 56, -48), (25, 32, 54), -24),
            "gallbladder": about((-36, -38, -32), (13, 27, 24), 24),
            "pancreas_head": about((-4, 2, -38), (21, 16, 26), 10),
            "pancreas": about((32, 0, -16), (40, 11, 15), -14),
            "duodenum": about((-30, 6, -40), (13, 15, 26), 10, 2),
        }

    def _draw_loops(self, rng: np.random.Generator) -> tuple[Loop, ...]:
        loops: list[Loop] = []
        taken = np.zeros((160, 6))
        for _ in range(len(taken)):
            centre = (rng.uniform(-62, 108), rng.uniform(-80, 8), rng.uniform(-115, 2))
            radii = (rng.uniform(13, 26), rng.uniform(11, 19), rng.uniform(16, 34))
            content = str(rng.choice(["gas", "fluid", "stool"], p=(0.22, 0.4, 0.38)))
            turn = rng.uniform(-60, 60)
            gap = (np.array(centre) - taken[: len(loops), :3]) / (taken[: len(loops), 3:] + radii)
            if (np.square(gap).sum(axis=1) > 0.6).all():
                taken[len(loops)] = (*centre, *radii)
                loops.append(Loop(Ellipsoid(centre, radii, turn), content))
        flexure = Ellipsoid((104, -30, rng.uniform(-10, 30)), (19, 26, 34), -14)
        return (*loops, Loop(flexure, str(rng.choice(["gas", "stool"]))))

    def _inside_liver(self, rng: np.random.Generator, number: int, deep: float) -> Array:
        """``number`` points (n, 3) of the standard torso at least ``deep`` mm under the capsule."""
        found: list[Array] = []
        count = 0
        while count < number:
            low, high = (-128, -90, -85), (92, 88, 98)
            points = rng.uniform(low, high, (600, 3))
            u, v, z = points.T
            inside = np.maximum.reduce(
                [
                    self.wall_distance(u, v) + 1,
                    (z - self.diaphragm(u, v) + 4) * 0.62,
                    (self.visceral(u, v) - z) * 0.62,
                ]
            )
            kept = points[inside < -deep]
            found.append(kept)
            count += len(kept)
        return np.concatenate(found)[:number]

    def _draw_liver_vessels(self, rng: np.random.Generator) -> tuple[Vessels, Vessels]:
        portal_trunk = np.array([(10, 6, -26), (-4, 5, -14), (-14, 2, -2), (-24, 0, 6.0)])
        left = np.array([(-10, -6, 8), (2, -18, 16), (10, -30, 22.0)])
        leaves = self._inside_liver(rng, 95, 5)
        portal_line = Skeleton.line(np.vstack([portal_trunk, left[:1]]))
        portal = grow(rng, portal_line, np.vstack([left, leaves]), 1.2)
        top = 0.74 * self.build.dome_mm
        caval = np.array([(-33, 19, top + 6), (-34, 12, top)])
        mains = np.array(
            [(-70, 22, 0.5 * top), (-100, 28, 0.2 * top), (-42, -26, 0.55 * top),
             (-52, -48, 0.1 * top), (8, -20, 0.62 * top), (40, -36, 0.5 * top)]
        ) + rng.normal(0, 4, (6, 3))  # fmt: skip
        leaves = np.vstack([mains, self._inside_liver(rng, 60, 6)])
        return portal, grow(rng, Skeleton.line(caval), leaves, 1.45)

    def _draw_joining_vessels(self, rng: np.random.Generator) -> tuple[Vessels, Vessels]:
        """Those of the second phantom: more of them, the small ones too, from branches that fork
        where a liver's do."""
        portal = grow(rng, portal_skeleton(rng), self._inside_liver(rng, 150, 4), 1.1)
        trunk = hepatic_skeleton(rng, self.build.dome_mm)
        return portal, grow(rng, trunk, self._inside_liver(rng, 90, 5), 1.35)

    def _draw_other_vessels(self, rng: np.random.Generator) -> Vessels:
        """Splenic and mesenteric vessels, and strands in the fat: (start, end, radii)."""
        pieces: list[tuple[tuple[float, ...], tuple[float, ...], tuple[float, float]]] = []

        def line(points: list[tuple[float, float, float]], first: float, last: float) -> None:
            radii = np.linspace(first, last, len(points))
            for i in range(len(points) - 1):
                pieces.append((points[i], points[i + 1], (radii[i], radii[i + 1])))

        sway = rng.normal(0, 3, 6)
        line([(10, 6, -26), (26, 11, -16), (48, 16 + sway[0], -10), (70, 26 + sway[1], -4),
              (88, 36, 4)], 4.6, 3.4)  # fmt: skip
        line([(10, 6, -26), (8, 0, -55), (6, -6, -120)], 5.6, 4.6)
        line([(16, 14, -8), (24, 2, -22), (22, -4, -60), (20, -8, -120)], 3.4, 3.0)
        line([(14, 20, 8), (22, 4, 10), (44, 8 + sway[2], 2), (84, 34, 8)], 3.2, 2.0)
        line([(-33, 19, -50), (-58, 40, -58)], 4.5, 3.8)
        line([(-30, 20, -44), (8, 9, -46), (44, 38, -48)], 4.5, 3.8)
        for _ in range(60):
            a = np.array([rng.uniform(-50, 100), rng.uniform(-70, 20), rng.uniform(-110, 50)])
            b = a + rng.normal(0, 12, 3)
            size = rng.uniform(0.7, 1.8)
            pieces.append((tuple(a), tuple(b), (size, size)))
        start, end, radius = (np.asarray(column, float) for column in zip(*pieces, strict=True))
        return Vessels(start, end, radius)

    def _draw_lung_vessels(self, rng: np.random.Generator) -> Vessels:
        """Short pieces that point away from the hila, thinner further out."""
        start = rng.uniform((-125, -75, 0), (125, 85, 115), (150, 3))
        outward = start - np.where(start[:, :1] < 0, (-25, 0, 130), (30, 0, 130))
        length = np.linalg.norm(outward, axis=1, keepdims=True)
        end = start + outward / length * rng.uniform(8, 22, (150, 1))
        first = np.clip(3.4 - 0.018 * length + rng.normal(0, 0.4, length.shape), 0.5, 3.5)
        return Vessels(start, end, np.hstack([first, 0.75 * first]))

    # painting

    def paint(self, grid: Grid, z: float, thickness: float, depths: Floats) -> Floats:
        """(512, 512) float32 HU of the slice at ``z``, before the scanner.

        Large organs soften by the slope of their surface times ``thickness``; vessels are averaged
        over the planes at ``depths``.
        """
        static = _static(self, grid)
        scene = _Scene(self, static, grid, z, thickness, depths)
        scene.ribs()
        scene.cavity()
        scene.kidneys()
        scene.simple("pancreas", "pancreas")
        scene.simple("pancreas_head", "pancreas")
        scene.simple("duodenum", "bowel_wall")
        scene.vessels(self.others, static.organs_room)
        scene.bowel()
        scene.stomach()
        scene.spleen()
        liver = scene.liver()
        scene.vessels(self.portal, liver, hilum=True)
        scene.vessels(self.hepatic, liver)
        scene.simple("gallbladder", "bile")
        scene.chest()
        scene.great_vessels()
        scene.spine()
        return scene.hu

    def texture(self, z: float) -> Floats:
        """(512, 512) smooth unit noise that belongs to the patient and changes slowly with z."""
        level = (z / _LEVEL_MM) % _NOISE_LEVELS
        lower = int(level)
        t = level - lower
        upper = (lower + 1) % _NOISE_LEVELS
        mix = self._texture[lower] * (1 - t) + self._texture[upper] * t
        return refine(mix / np.float32(np.hypot(t, 1 - t)))


class _Static:
    """What all slices of a patient share on one grid."""

    def __init__(self, anatomy: Anatomy, grid: Grid) -> None:
        x, y = grid.coarse
        u, v = anatomy.standard(x, y)
        wall = anatomy.wall_distance(u, v)
        self.u, self.v = refine(u), refine(v)
        self.wall = refine(np.clip(wall, -60, 60)) * min(anatomy._scale)
        self.diaphragm, self.roof_slope = _height_map(anatomy.diaphragm(u, v), grid)
        self.visceral, self.floor_slope = _height_map(anatomy.visceral(u, v), grid)
        self.hull, self.hull_slope = _height_map(anatomy.visceral(u, v, fissures=False), grid)
        self.organs_room = coverage(self.wall + 2, grid.spacing_mm)
        self.base = self._shell(anatomy, grid, x, y)

    def _shell(self, anatomy: Anatomy, grid: Grid, x: Array, y: Array) -> Floats:
        """Air, table, skin, subcutaneous fat and the muscle of the wall."""
        b, hu, px = anatomy.build, anatomy.hu, grid.spacing_mm
        side, front, back = b.fat_mm
        out = np.full((len(grid.y), len(grid.x)), hu["air"], np.float32)
        a, depth = b.inner_width + b.wall_mm, b.inner_depth + b.wall_mm
        r = np.hypot(x, y) + 1e-6
        angle = np.arctan2(y, x)
        lower = _sigmoid(y / 14)

        def outline(half_width: float, up: float, down: float, groove: float) -> Floats:
            tall = up * (1 - lower) + down * lower
            radius = (np.abs(x / r / half_width) ** 2.35 + np.abs(y / r / tall) ** 2.35) ** (
                -1 / 2.35
            )
            radius = radius * (1 - groove * np.exp(-(((angle - np.pi / 2) / 0.16) ** 2)))
            return refine(np.clip(r - radius, -60, 60))

        skin = outline(a + side, depth + front, depth + back + 4, 0.035)
        muscle = outline(a, depth, depth + 4, 0.05)
        self.skin = skin
        bottom = float(depth + back + 4)
        self._table(out, grid, bottom)
        paint(out, coverage(skin, px), 30.0)
        grain = anatomy.texture(0.0)
        paint(out, coverage(skin + 1.6, px), _fat(anatomy, grain))
        # intermuscular fat planes: muscle groups seen apart from each other
        depth_in = -muscle
        planes = np.exp(-(((depth_in - 8 - 1.5 * grain) / 1.1) ** 2))
        groups = np.exp(-(((np.abs(self.u) - 34 - 2 * grain) / 1.3) ** 2)) * (self.v > 30)
        groups = np.maximum(groups, np.exp(-((self.u / 1.5) ** 2)) * (self.v > 70))
        share = np.clip(0.55 * planes + 0.7 * groups + 0.06 * grain, 0, 1)
        flesh = hu["muscle"] + share * (hu["fat"] - hu["muscle"])
        paint(out, coverage(muscle, px), flesh.astype(np.float32))
        return out

    def _table(self, out: Floats, grid: Grid, bottom: float) -> None:
        y = grid.y[:, None] - (bottom - 2 - grid.x[None, :] ** 2 / 900)
        for depth, value in ((2.0, 260.0), (38.0, 180.0)):
            cover = np.clip(0.5 + (1.3 - np.abs(y - depth)) / grid.spacing_mm, 0, 1)
            paint(out, cover.astype(np.float32), value)


def _fat(anatomy: Anatomy, grain: Floats) -> Floats:
    """HU of fat about organs and under the skin, of the second phantom with septa.

    These are thin sheets, which a slice cuts as lines; they lie where ``grain``, the patient's
    texture there, is zero.
    """
    fat = anatomy.hu["fat"] + 5 * grain
    if anatomy.version is Version.FIRST:
        return fat
    return np.asarray(fat + np.float32(_SEPTUM_HU) * np.exp(-((grain / np.float32(0.07)) ** 2)))


@lru_cache(maxsize=2)
def _static(anatomy: Anatomy, grid: Grid) -> _Static:
    """Kept for the patients at hand only: 15 MB each."""
    return _Static(anatomy, grid)


def _height_map(height: Array, grid: Grid) -> tuple[Floats, Floats]:
    """The map at full resolution, and its slope (mm of height per mm) there."""
    pitch = float(grid.coarse[0][0, 1] - grid.coarse[0][0, 0])
    gy, gx = np.gradient(np.clip(height, -400, 400), pitch)
    return refine(np.clip(height, -400, 400)), refine(np.hypot(gx, gy))


class _Scene:
    """One slice while it is painted."""

    def __init__(
        self,
        anatomy: Anatomy,
        static: _Static,
        grid: Grid,
        z: float,
        thickness: float,
        depths: Floats,
    ) -> None:
        self.a, self.s, self.grid, self.z, self.t = anatomy, static, grid, z, thickness
        self.depths = depths
        self.px = grid.spacing_mm
        self.grain = anatomy.texture(z)
        self.hu = static.base.copy()
        self.value = anatomy.hu
        self.below = self._below_diaphragm(0.0)

    def _below_diaphragm(self, gap: float) -> Floats:
        """Share of each voxel below the diaphragm less ``gap`` mm."""
        slope = self.s.roof_slope
        norm = np.sqrt(1 + slope * slope)
        distance = (self.z - self.s.diaphragm + gap) / norm
        return coverage(distance, (self.t + slope * self.px) / norm)

    def _above(self, height: Floats, slope: Floats) -> Floats:
        """Share of each voxel above a height map."""
        norm = np.sqrt(1 + slope * slope)
        return coverage((height - self.z) / norm, (self.t + slope * self.px) / norm)

    def _box(self, shape: Ellipsoid) -> tuple[slice, slice] | None:
        if abs(self.z - shape.centre[2]) > shape.radii[2] + self.t:
            return None
        x, y = self.a.patient(np.asarray(shape.centre[0]), np.asarray(shape.centre[1]))
        reach = shape.reach * max(self.a._scale) * 1.08 + 4
        return self.grid.box(float(x) - reach, float(x) + reach, float(y) - reach, float(y) + reach)

    def _cover(
        self, shape: Ellipsoid, box: tuple[slice, slice], shrink: float = 0.0, rough: float = 0.0
    ) -> Floats:
        distance, width = shape.distance(self.s.u[box], self.s.v[box], self.z, self.px, self.t)
        if rough:
            distance = distance + rough * self.grain[box]
        return coverage(distance + shrink, width)

    def simple(self, organ: str, tissue: str) -> None:
        shape = self.a._organs[organ]
        if box := self._box(shape):
            rough = 0.0 if tissue == "bile" else 2.0
            cover = self._cover(shape, box, rough=rough)
            if tissue == "bile":
                paint(self.hu[box], cover, self.value["bowel_wall"])
                cover = self._cover(shape, box, 1.6)
                paint(self.hu[box], cover, self.value[tissue])
            else:
                cover = cover * self.s.organs_room[box]
                fat = np.clip(0.28 * self.grain[box] - 0.1, 0, 0.5)
                value = self.value[tissue] * (1 - fat) + self.value["fat"] * fat
                paint(self.hu[box], cover, value)

    def ribs(self) -> None:
        """Ribs slope down to the front, so that a slice cuts several, each further along."""
        b = self.a.build
        half_w = (HALF_WIDTH + 6.0) * self.a._scale[0]
        half_d = (HALF_DEPTH + 6.0) * self.a._scale[1]
        for rib in range(-3, 9):
            # angle from the spine (0) to the sternum (π)
            along = (rib * 29.0 + b.rib_phase - self.z) / 62.0
            if not 0.30 < along < 2.7:
                continue
            for side in (-1, 1):
                angle = np.pi / 2 - side * along
                direction = np.array([np.cos(angle), np.sin(angle)])
                n = 2.35
                radius = (abs(direction[0] / half_w) ** n + abs(direction[1] / half_d) ** n) ** (
                    -1 / n
                )
                at = direction * radius
                # along the wall: the tangent of the ellipse
                tangent = np.arctan2(half_d**2 * direction[0] * -1, half_w**2 * direction[1])
                box = self.grid.box(at[0] - 16, at[0] + 16, at[1] - 16, at[1] + 16)
                if box is None:
                    continue
                x = self.grid.x[None, box[1]] - at[0]
                y = self.grid.y[box[0], None] - at[1]
                c, s = np.cos(tangent), np.sin(tangent)
                p, q = c * x + s * y, c * y - s * x
                length = 9.5 if along < 2.0 else 7.5
                level = np.sqrt((p / length) ** 2 + (q / 4.2) ** 2) + 1e-3
                across = np.hypot(p / length**2, q / 4.2**2) / level + 1e-3
                distance = ((level - 1) / across).astype(np.float32)
                soft = self.px + 0.25 * self.t
                front = along > 2.25
                shell = self.value["cartilage"] if front else self.value["cortex"]
                paint(self.hu[box], coverage(distance, soft), shell)
                if not front:
                    paint(self.hu[box], coverage(distance + 1.5, soft), self.value["marrow"])

    def cavity(self) -> None:
        """Fat where no organ will lie, and the diaphragm and peritoneum as a thin band."""
        inside = coverage(self.s.wall, self.px)
        paint(self.hu, inside, _fat(self.a, self.grain))

    def spine(self) -> None:
        value, px = self.value, self.px
        box = self.grid.box(-75, 75, 10, 125)
        assert box is not None
        x = self.grid.x[None, box[1]]
        y = self.grid.y[box[0], None]
        hu = self.hu[box]
        grain = self.grain[box]
        front = 0.30 * self.a.build.inner_depth
        phase = ((self.z + self.a.build.disc_phase) % 34.0) - 17.0
        waist = 1 + 0.08 * (abs(phase) / 17.0) ** 2
        disc = float(np.clip((abs(phase) - 14.2) / (0.5 * self.t + 0.5) + 0.5, 0, 1))

        def oval(cx: float, cy: float, rx: float, ry: float, power: float = 2.0) -> Floats:
            level = (np.abs((x - cx) / rx) ** power + np.abs((y - cy) / ry) ** power) ** (
                1 / power
            ) + 1e-4
            return np.asarray((level - 1) * min(rx, ry), np.float32)

        middle = front + 15
        canal_y = middle + 23
        arch = float(np.clip((9.0 - abs(phase + 3)) / 6.0, 0, 1))
        soft = px * 1.3
        # transverse processes, pedicles, laminae and spinous process
        for side in (-1, 1):
            slant = side * 0.55
            p = (x - side * 23) + slant * (y - canal_y - 2)
            transverse = np.maximum(
                np.abs(p) - 11, np.abs(y - canal_y - 2 + slant * (x - side * 23) * 0.6) - 4.0
            )
            cover = coverage(np.asarray(transverse, np.float32), soft) * arch
            paint(hu, cover, 420.0)
            paint(hu, coverage(np.asarray(transverse + 2.0, np.float32), soft) * arch, 230.0)
            pedicle = oval(side * 12.5, middle + 15, 5.0, 9.0)
            paint(hu, coverage(pedicle, soft) * arch, 480.0)
            facet = oval(side * 16, canal_y + 9, 8.0, 7.0)
            paint(hu, coverage(facet, soft), 440.0)
            paint(hu, coverage(facet + 2.4, soft), 260.0)
        ring = np.abs(oval(0, canal_y, 13.0, 12.0)) - 2.2
        back = (y > canal_y - 2).astype(np.float32)
        paint(hu, coverage(ring.astype(np.float32), soft) * back, 560.0)
        spinous = np.maximum(
            np.abs(x) - 3.0 - 0.05 * (y - canal_y), np.abs(y - canal_y - 24) - 13.0
        )
        drop = float(np.clip((12.0 - abs(phase - 4)) / 6.0, 0.25, 1))
        paint(hu, coverage(np.asarray(spinous, np.float32), soft) * drop, 480.0)
        paint(hu, coverage(np.asarray(spinous + 1.8, np.float32), soft) * drop, 280.0)
        canal = oval(0, canal_y, 10.5, 9.5)
        paint(hu, coverage(canal, soft), -20.0)
        paint(hu, coverage(oval(0, canal_y, 8.0, 7.0), soft), 32.0)
        # vertebral body: waisted, with a flat back
        body = np.maximum(oval(0, middle, 20.5 * waist, 15.5 * waist, 2.3), y - middle - 13.0)
        body = np.asarray(body + 0.5 * grain * 0.6, np.float32)
        trabecular = value["marrow"] * (1 + 0.10 * grain) + 60 * np.abs(phase) / 17.0
        inner = trabecular * (1 - disc) + 92.0 * disc
        shell = value["cortex"] * 0.62 * (1 - disc) + 100.0 * disc
        paint(hu, coverage(body, soft), float(shell))
        paint(hu, coverage(body + 1.7, soft), np.asarray(inner, np.float32))

    def great_vessels(self) -> None:
        blood, z = self.value["blood"], self.z
        aorta = Ellipsoid((13 + 0.03 * z, 17 - 0.03 * z, z), (8.8, 9.8, 400))
        cava = _cava(z)
        for side in (-1, 1):
            crus = Ellipsoid((side * 17 + 5, 26, 10), (6.5, 16, 70), side * 24)
            if box := self._box(crus):
                paint(self.hu[box], self._cover(crus, box, rough=0.8), self.value["muscle"])
            psoas = Ellipsoid((side * 31, 46, -105), (13, 17, 75), side * 15)
            if box := self._box(psoas):
                paint(self.hu[box], self._cover(psoas, box, rough=1.0), self.value["muscle"])
        gullet = Ellipsoid((15, 0 + 0.03 * z, 75), (9, 7, 42))
        if box := self._box(gullet):
            paint(self.hu[box], self._cover(gullet, box), self.value["bowel_wall"])
        for shape, level in ((aorta, blood + 6), (cava, blood - 14)):
            if box := self._box(shape):
                paint(self.hu[box], self._cover(shape, box), level + 3 * self.grain[box])

    def kidneys(self) -> None:
        for name, side in (("right_kidney", -1), ("left_kidney", 1)):
            shape = self.a._organs[name]
            box = self._box(shape)
            if box is None:
                continue
            u, v = self.s.u[box], self.s.v[box]
            cover = self._cover(shape, box) * self.s.organs_room[box]
            c = shape.centre
            r = shape.radii
            medulla = 16 * np.cos(6 * np.arctan2(v - c[1], u - c[0]) + 0.05 * self.z)
            medulla = medulla + 14 * self.grain[box]
            distance, _ = shape.distance(u, v, self.z, self.px, self.t)
            deep = np.clip((-distance - 6) / 3, 0, 1)
            value = self.value["kidney"] - deep * np.clip(18 + medulla, 0, 60)
            paint(self.hu[box], cover, value.astype(np.float32))
            sinus = Ellipsoid(
                (c[0] - side * 16, c[1] - 7, c[2]), (15, 6.5, r[2] * 0.5), -side * 30.0
            )
            if inner := self._box(sinus):
                hole = self._cover(sinus, inner, rough=2.0)
                paint(self.hu[inner], hole, self.value["fat"])
                pelvis = Ellipsoid(
                    (c[0] - side * 19, c[1] - 8, c[2]), (8, 3, r[2] * 0.3), sinus.turn_deg
                )
                paint(self.hu[inner], self._cover(pelvis, inner, rough=1.0), 60.0)

    def bowel(self) -> None:
        for loop in self.a._loops:
            box = self._box(loop.shape)
            if box is None:
                continue
            room = self.s.organs_room[box] * self.below[box]
            cover = self._cover(loop.shape, box, rough=1.6) * room
            paint(self.hu[box], cover, self.value["bowel_wall"])
            lumen = self._cover(loop.shape, box, 2.6, rough=1.6) * room
            grain = self.grain[box]
            if loop.content == "stool":
                inside = np.where(grain > 0.55, -520.0, 15.0 + 25 * grain)
            else:
                inside = np.full(grain.shape, 22.0, np.float32)
            if loop.content == "gas":
                level = loop.shape.centre[1] + 0.35 * loop.shape.radii[1]
                gas = np.clip((level - self.s.v[box]) / self.px + 0.5, 0, 1)
                inside = inside + gas * (-960.0 - inside)
            paint(self.hu[box], lumen, np.asarray(inside, np.float32))

    def stomach(self) -> None:
        shape = self.a._organs["stomach"]
        box = self._box(shape)
        if box is None:
            return
        room = coverage(self.s.wall[box] + 5, self.px) * self._below_diaphragm(3.0)[box]
        grain = self.grain[box]
        paint(self.hu[box], self._cover(shape, box, rough=1.5) * room, self.value["bowel_wall"])
        lumen = self._cover(shape, box, 4.5, rough=2.2) * room
        gas_level = shape.centre[1] + (self.a.build.gas * 2 - 1.2) * shape.radii[1]
        if self.a.version is Version.FIRST:
            # standard millimetres against the patient's: the level lies some mm off
            above = gas_level - self.grid.y[box[0], None]
        else:
            above = gas_level - self.s.v[box]
        gas = np.clip(above / self.px + 0.5, 0, 1)
        food = self.value["stomach_content"] + 9 * grain
        paint(self.hu[box], lumen, (food + gas * (-970.0 - food)).astype(np.float32))

    def spleen(self) -> None:
        shape = self.a._organs["spleen"]
        if box := self._box(shape):
            room = coverage(self.s.wall[box] + 2.5, self.px) * self._below_diaphragm(3.0)[box]
            cover = self._cover(shape, box, rough=1.0) * room
            paint(self.hu[box], cover, self.value["spleen"] + 2 * self.grain[box])

    def liver(self) -> Floats:
        """Paint the liver and return its share of every voxel."""
        room = coverage(self.s.wall + 0.8, self.px) * self._below_diaphragm(4.0)
        # nothing but fat lies in the fissures
        paint(self.hu, self._above(self.s.hull, self.s.hull_slope) * room, self.value["fat"])
        cover = self._above(self.s.visceral, self.s.floor_slope) * room
        liver = self.value["liver"] + 2 * self.grain
        if self.a.mottle is not None:
            liver += self.a.mottle.at(self.z)
        paint(self.hu, cover, liver)
        if self.a.falciform:
            # from the fissure of the ligamentum teres to the wall in front
            u, v = self.s.u, self.s.v
            sheet = np.exp(-(((u - 6 - 0.10 * (v + 50)) / 1.3) ** 2)) * _sigmoid(-(v + 68) / 3)
            paint(self.hu, self.a.falciform * sheet * cover, self.value["fat"])
        blood = self.value["blood"]
        cava = _cava(self.z)
        if box := self._box(cava):
            paint(self.hu[box], self._cover(cava, box), blood - 14 + 3 * self.grain[box])
        return cover

    def vessels(self, tree: Vessels, room: Floats, hilum: bool = False) -> None:
        """Average each piece of the tree over the planes of the slice."""
        blood = self.value["blood"]
        for i in tree.near(self.z, 0.5 * self.t):
            start, end, radius = tree.start[i], tree.end[i], tree.radius[i]
            (x0, x1), (y0, y1) = self.a.patient(
                np.array([start[0], end[0]]), np.array([start[1], end[1]])
            )
            reach = float(radius.max()) + 4
            box = self.grid.box(
                min(x0, x1) - reach, max(x0, x1) + reach, min(y0, y1) - reach, max(y0, y1) + reach
            )
            if box is None:
                continue
            line = (end - start).astype(np.float32)
            du = self.s.u[box] - np.float32(start[0])
            dv = self.s.v[box] - np.float32(start[1])
            dz = (self.z + self.depths - start[2]).astype(np.float32)[:, None, None]
            length = float(line @ line) + 1e-6
            t = np.clip((du * line[0] + dv * line[1] + dz * line[2]) / length, 0, 1)
            gap = np.sqrt(
                (du - t * line[0]) ** 2 + (dv - t * line[1]) ** 2 + (dz - t * line[2]) ** 2
            )
            size = radius[0] + t * (radius[1] - radius[0])
            cover = coverage(gap - size, self.px).mean(axis=0)
            if not (hilum and radius.max() > 4.0):
                cover = cover * room[box]
            paint(self.hu[box], cover.astype(np.float32), blood)

    def chest(self) -> None:
        """Lung above the diaphragm, and the heart between the lungs."""
        above = 1 - self.below
        if float(above[self.s.wall < -2].max(initial=0.0)) <= 0.01:
            return
        u = self.s.u
        heart = self.a._organs["heart"]
        middle = np.zeros_like(self.hu)
        for shape, margin in ((heart, 7.0), (Ellipsoid((6, 20, self.z), (27, 22, 400)), 0.0)):
            if box := self._box(shape):
                cover = self._cover(shape, box, -margin, rough=2.0)
                middle[box] = np.maximum(middle[box], cover)
        lung = above * coverage(self.s.wall + 1.5, self.px) * (1 - middle)
        paint(self.hu, lung, self.value["lung"] + 18 * np.clip(self.grain, -1, 3))
        self.vessels(self.a.pulmonary, lung)
        if box := self._box(heart):
            cover = self._cover(heart, box, rough=1.0) * coverage(self.s.wall[box] + 6, self.px)
            cover = cover * above[box]
            fat = self._cover(heart, box, -7.0, rough=2.0) * above[box]
            paint(self.hu[box], fat, self.value["fat"])
            chamber = 16 * np.sin(0.09 * u[box] - 0.07 * self.s.v[box] + 1.0)
            paint(self.hu[box], cover, self.value["blood"] - 18 + chamber)
