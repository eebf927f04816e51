"""Lesions: one renderer, three classes, and a stated overlap between them.

Every lesion is a point in one space of appearances (``Appearance``): a class is a region of it, and
an atypical lesion is a point drawn towards the region of another class. So the classes overlap the
way they do in the clinic (a proteinaceous cyst, a cystic metastasis, a hyalinised or flash-filling
hemangioma) and no renderer leaves a fingerprint of the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from ml.phantom import VERSION, Version
from ml.phantom.grid import Array, Floats, Grid, coverage
from ml.phantom.tissues import RANGES

DIAMETER_MM = (10.0, 102.0)
"""Smallest and largest lesion (Frid-Adar et al. 2018)."""
MEDIAN_MM = 24.0
SPREAD = 0.55
"""Sizes are log-normal with this median and standard deviation of the logarithm, truncated."""

CLASSES = ("cyst", "metastasis", "hemangioma")
DIFFICULTY: Mapping[Version, float] = {Version.FIRST: 0.2, Version.SECOND: 0.05}
"""What each version is calibrated at, and made at where no difficulty is asked for.

Of the first, a random forest on ring statistics of the lesion (its true box given), trained on
53/64/65 lesions, has a mean sensitivity of about 0.83 at difficulty 0.2, 0.80 at 0.3, 0.69 at 0.5
and 0.64 at 0.8."""
_SENSITIVITIES = {
    Version.FIRST: "78.6, 75.3, 80.2 and 74.7 %",
    Version.SECOND: "78.0, 72.5, 85.2 and 76.4 %",
}
CALIBRATION: Mapping[Version, str] = {
    version: (
        f"Their difficulty, {DIFFICULTY[version]:g}, was calibrated at the compact preset on the "
        "classic arm alone, on four data sets of 182 lesions whose seeds (7001 to 7004) are used "
        f"for nothing else: weighted sensitivity {found}, where 74 to 83 % were asked for. Then it "
        "was frozen."
    )
    for version, found in _SENSITIVITIES.items()
}
"""How ``DIFFICULTY`` came about (``make bench SECTIONS=difficulty``)."""


_MERGE = np.float32(0.05)
"""Nodules flow together over so much of the lesion's radius."""


def difficulty_of(version: Version, asked: float | None) -> float:
    """What is made: what was asked for, or what the version is calibrated at."""
    return DIFFICULTY[version] if asked is None else asked


def atypical_share(difficulty: float) -> float:
    """The stated proportion of atypical lesions: 5 % at difficulty 0, 50 % at 1, linear."""
    return 0.05 + 0.45 * difficulty


def draw_diameter(rng: np.random.Generator) -> float:
    """A longest diameter in mm."""
    while True:
        diameter = float(MEDIAN_MM * np.exp(rng.normal(0, SPREAD)))
        if DIAMETER_MM[0] <= diameter <= DIAMETER_MM[1]:
            return diameter


@dataclass(frozen=True)
class Appearance:
    """What a lesion looks like. HU are absolute; strengths are shares in 0…1."""

    hu: float
    edge_mm: float
    lobes: float
    ragged: float
    texture_hu: float
    texture_mm: float
    necrosis: float
    necrosis_radius: float
    necrosis_hu: float
    rim_hu: float
    rim_mm: float
    nodules: float
    nodule_hu: float
    nodule_size: float
    fill: float

    def towards(self, other: Appearance, share: float) -> Appearance:
        """This appearance, moved by ``share`` of the way to another."""
        return Appearance(
            **{
                f.name: (1 - share) * getattr(self, f.name) + share * getattr(other, f.name)
                for f in fields(self)
            }
        )

    def faded(self, liver_hu: float, contrast: float) -> Appearance:
        """The same with every contrast against the liver multiplied by ``contrast``."""
        return Appearance(
            **{
                f.name: liver_hu + contrast * (getattr(self, f.name) - liver_hu)
                if f.name in ("hu", "necrosis_hu", "nodule_hu")
                else getattr(self, f.name)
                for f in fields(self)
            }
        )


def textbook(lesion_class: str, rng: np.random.Generator, hu: Mapping[str, float]) -> Appearance:
    """A typical lesion of a class in a patient whose tissues have attenuations ``hu``.

    A cyst is sharp, homogeneous, near water. A metastasis is ill-defined, heterogeneous, below the
    liver, at times necrotic (45 %) or with an enhancing rim (40 %). A hemangioma is unenhanced
    blood with discontinuous peripheral nodules near the attenuation of vessels, which fill in
    partly.
    """
    liver, blood = hu["liver"], hu["blood"]

    def within(name: str) -> float:
        return float(rng.uniform(*RANGES[name][:2]))

    necrosis_hu, nodule_hu = within("necrosis"), blood * rng.uniform(0.88, 1.04)
    shared = {
        "texture_mm": rng.uniform(2.5, 5.0),
        "necrosis_radius": rng.uniform(0.4, 0.75),
        "necrosis_hu": necrosis_hu,
        "rim_mm": rng.uniform(2.0, 4.5),
        "nodule_hu": nodule_hu,
        "nodule_size": rng.uniform(0.30, 0.48),
    }
    if lesion_class == "cyst":
        own = {
            "hu": within("cyst"),
            "edge_mm": rng.uniform(0.5, 1.0),
            "lobes": rng.uniform(0.01, 0.03),
            "ragged": 0.0,
            "texture_hu": rng.uniform(0.0, 1.0),
            "necrosis": 0.0,
            "rim_hu": 0.0,
            "nodules": 0.0,
            "fill": 0.0,
        }
    elif lesion_class == "metastasis":
        own = {
            "hu": min(within("metastasis"), liver - rng.uniform(30, 46)),
            "edge_mm": rng.uniform(3.0, 6.5),
            "lobes": rng.uniform(0.05, 0.11),
            "ragged": rng.uniform(0.04, 0.09),
            "texture_hu": rng.uniform(6.0, 12.0),
            "necrosis": float(rng.uniform() < 0.45) * rng.uniform(0.6, 1.0),
            "rim_hu": float(rng.uniform() < 0.40) * rng.uniform(14, 36),
            "nodules": 0.0,
            "fill": 0.0,
        }
    else:
        own = {
            "hu": min(within("hemangioma"), liver - rng.uniform(18, 34)),
            "edge_mm": rng.uniform(1.0, 2.0),
            "lobes": rng.uniform(0.05, 0.10),
            "ragged": rng.uniform(0.01, 0.03),
            "texture_hu": rng.uniform(2.0, 5.0),
            "necrosis": 0.0,
            "rim_hu": 0.0,
            "nodules": rng.uniform(0.85, 1.0),
            "fill": rng.uniform(0.0, 0.5),
        }
    return Appearance(**{key: float(value) for key, value in {**shared, **own}.items()})


def draw_appearance(
    lesion_class: str, rng: np.random.Generator, hu: Mapping[str, float], difficulty: float
) -> tuple[Appearance, bool]:
    """An appearance and whether it is atypical.

    With probability ``atypical_share(difficulty)`` the lesion lies 45–95 % of the way to a lesion
    of another class; a typical one lies up to 30 % · difficulty of the way. Up to 35 % · difficulty
    of the contrast of solid lesions against the liver is lost. All draws are made in the same
    order whatever the difficulty, so that one seed changes smoothly with it.
    """
    own = textbook(lesion_class, rng, hu)
    mimic_class = str(rng.choice([key for key in CLASSES if key != lesion_class]))
    mimic = textbook(mimic_class, rng, hu)
    luck, far, near, fade = rng.uniform(size=4)
    atypical = bool(luck < atypical_share(difficulty))
    share = 0.45 + 0.5 * far if atypical else 0.30 * difficulty * near
    look = own.towards(mimic, float(share))
    if lesion_class != "cyst":
        look = look.faded(hu["liver"], 1 - 0.35 * difficulty * float(fade))
    return look, atypical


@dataclass(frozen=True)
class Shape:
    """A lesion's outline: an ellipsoid with lobes in the plane that fade towards the poles.

    ``radius_mm`` scales it so that the longest diameter of the middle plane is the lesion's.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    stretch: float
    turn: float
    height_mm: float
    lean: tuple[float, float]
    lobes: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, diameter_mm: float, lobes: float) -> Shape:
        """A shape at the origin whose longest in-plane diameter is ``diameter_mm``."""
        orders = np.arange(2, 8)
        size = lobes * rng.normal(0, 1, 6) / np.sqrt(orders - 1.0)
        shape = cls(
            (0.0, 0.0, 0.0),
            1.0,
            float(rng.uniform(0.80, 1.0)),
            float(rng.uniform(0, np.pi)),
            1.0,
            (float(rng.normal(0, 0.12)), float(rng.normal(0, 0.12))),
            np.clip(size, -2 * lobes, 2 * lobes),
            rng.uniform(0, 2 * np.pi, 6),
        )
        angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        rim = shape.outline(angle)
        points = np.stack([rim * np.cos(angle), rim * np.sin(angle)], axis=1)
        longest = float(np.linalg.norm(points[:, None] - points[None], axis=2).max())
        radius = diameter_mm / longest
        return shape._replace(radius_mm=radius, height_mm=radius * float(rng.uniform(0.8, 1.0)))

    def _replace(self, **changes: object) -> Shape:
        return Shape(**{f.name: changes.get(f.name, getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type]

    def at(self, x: float, y: float, z: float) -> Shape:
        """The same shape with its centre there, in mm of patient space."""
        return self._replace(centre_mm=(float(x), float(y), float(z)))

    def outline(self, angle: Floats | npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
        """Radius of the middle plane at each angle, before scaling."""
        turned = angle - self.turn
        oval = 1 / np.sqrt(np.cos(turned) ** 2 + (np.sin(turned) / self.stretch) ** 2)
        wave = sum(
            size * np.cos(order * angle + phase)
            for order, size, phase in zip(range(2, 8), self.lobes, self.phases, strict=True)
        )
        return np.asarray(oval * (1 + wave))

    def surface(self) -> npt.NDArray[np.float64]:
        """(n, 3) points of the surface in mm."""
        angle, up = np.meshgrid(
            np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(-0.98, 0.98, 9)
        )
        ring = np.sqrt(1 - up**2) * self.radius_mm * self.outline(angle)
        h = up * self.height_mm
        x, y, z = self.centre_mm
        return np.stack(
            [
                (x + ring * np.cos(angle) + self.lean[0] * h).ravel(),
                (y + ring * np.sin(angle) + self.lean[1] * h).ravel(),
                (z + h).ravel(),
            ],
            axis=1,
        )


@dataclass(frozen=True)
class Lesion:
    """A lesion in its place, ready to be painted; ``seed`` draws its texture and nodules."""

    lesion_class: str
    diameter_mm: float
    atypical: bool
    look: Appearance
    shape: Shape
    seed: np.random.SeedSequence
    version: Version = VERSION

    def box(self, grid: Grid) -> tuple[slice, slice] | None:
        """Rows and columns about it, the same on every slice; None outside the picture."""
        x, y, _ = self.shape.centre_mm
        reach = 0.62 * self.diameter_mm + 2 * self.look.edge_mm + 3
        return grid.box(x - reach, x + reach, y - reach, y + reach)

    def paint(self, hu: Floats, grid: Grid, z: float, depths: Floats) -> Floats | None:
        """Paint the slice at ``z`` into ``hu``; returns the true share of each voxel, or None.

        The result has the shape of ``box(grid)``. Each plane at ``depths`` is drawn apart and the
        mean is what a thick slice sees.
        """
        s = self.shape
        cx, cy, cz = s.centre_mm
        heights = (z + depths - cz).astype(np.float32)
        margin = s.height_mm + 2 * self.look.edge_mm
        box = self.box(grid)
        if box is None or float(np.abs(heights).min()) > margin:
            return None
        h = heights[:, None, None]
        dx = grid.x[None, None, box[1]] - np.float32(cx) - np.float32(s.lean[0]) * h
        dy = grid.y[None, box[0], None] - np.float32(cy) - np.float32(s.lean[1]) * h
        rim = self._rim(dx, dy)
        p, q, k = dx / rim, dy / rim, h / np.float32(s.height_mm)
        level = np.sqrt(p * p + q * q + k * k) + np.float32(1e-3)
        scale = np.float32(s.radius_mm) * np.float32(0.92)
        distance = (level - 1) * scale
        rng = np.random.default_rng(self.seed)
        grain = self._texture(rng, dx, dy, h)
        value = self._inside(rng, p, q, k, level, grain, scale)
        edge = np.float32(
            max(min(self.look.edge_mm, 0.22 * self.diameter_mm), 0.5 * grid.spacing_mm)
        )
        ragged = distance + np.float32(self.look.ragged * s.radius_mm) * grain
        cover = 1 / (1 + np.exp(np.clip(ragged * (4 / edge), -20, 20)))
        share = cover.mean(axis=0)
        here = hu[box]
        here *= 1 - share
        here += (cover * value).mean(axis=0)
        return np.asarray(coverage(distance, grid.spacing_mm).mean(axis=0), np.float32)

    def _rim(self, dx: Floats, dy: Floats) -> Floats:
        angle = np.arctan2(dy, dx)
        knots = np.linspace(-np.pi, np.pi, 361)
        radius = self.shape.outline(knots) * self.shape.radius_mm
        index = (angle + np.pi) * np.float32(360 / (2 * np.pi))
        low = np.clip(index.astype(np.int32), 0, 359)
        t = index - low
        table = radius.astype(np.float32)
        return np.asarray(table[low] * (1 - t) + table[low + 1] * t, np.float32)

    def _texture(self, rng: np.random.Generator, dx: Floats, dy: Floats, h: Floats) -> Floats:
        """Unit noise of the lesion's own tissue, correlated over ``texture_mm`` in 3D."""
        side = 1.35 * self.diameter_mm + 8
        cells = int(np.clip(side / (0.6 * self.look.texture_mm), 8, 44))
        noise = rng.standard_normal((cells, cells, cells), np.float32)
        noise = scipy.ndimage.gaussian_filter(noise, 0.9, mode="wrap")
        noise += 0.5 * scipy.ndimage.gaussian_filter(noise, 2.0, mode="wrap") / 0.25
        noise /= noise.std()
        to_cell = np.float32((cells - 1) / side)
        middle = np.float32((cells - 1) / 2)
        where = np.stack(np.broadcast_arrays(h, dy, dx)) * to_cell + middle
        # by straight lines the edge that the noise makes has corners
        order = 1 if self.version is Version.FIRST else 3
        return np.asarray(
            scipy.ndimage.map_coordinates(noise, where, order=order, mode="nearest"), np.float32
        )

    def _inside(
        self,
        rng: np.random.Generator,
        p: Array,
        q: Array,
        k: Array,
        level: Array,
        grain: Array,
        scale: np.float32,
    ) -> Floats:
        """HU inside the lesion, from core to rim."""
        look = self.look
        value = np.float32(look.hu) + np.float32(look.texture_hu) * grain
        if look.necrosis > 0.02:
            dead = _step(np.float32(look.necrosis_radius) - level - 0.10 * grain, 0.07)
            quiet = np.float32(look.necrosis_hu) + np.float32(0.3 * look.texture_hu) * grain
            value = value + np.float32(look.necrosis) * dead * (quiet - value)
        if abs(look.rim_hu) > 0.5:
            width = np.float32(min(look.rim_mm, 0.09 * self.diameter_mm))
            inward = (1 - level) * scale / width - np.float32(0.8)
            value = value + np.float32(look.rim_hu) * np.exp(-(inward**2))
        number = int(rng.integers(4, 9))
        gap = rng.uniform(0, 2 * np.pi)
        angles = gap + np.sort(rng.uniform(0, 1.65 * np.pi, number))
        ups = rng.uniform(-0.75, 0.75, number)
        sizes = look.nodule_size * rng.uniform(0.55, 1.15, number)
        if look.nodules > 0.02:
            first = self.version is Version.FIRST
            # nodules of the second phantom grow from the rim, and into each other
            far = 0.86 if first else 0.97
            field = np.full(level.shape, -1.0, np.float32)
            for angle, up, size in zip(angles, ups, sizes, strict=True):
                ring = np.sqrt(1 - up * up) * far
                size = size * (1 + look.fill)
                gone = (
                    (p - np.float32(ring * np.cos(angle))) ** 2
                    + (q - np.float32(ring * np.sin(angle))) ** 2
                    + (k - np.float32(up * far)) ** 2
                )
                own = np.float32(size) - np.sqrt(gone)
                if first:
                    np.maximum(field, own, out=field)
                else:
                    field = np.logaddexp(field / _MERGE, own / _MERGE) * _MERGE
            bright = _step(field + 0.05 * grain, 0.05) * np.float32(look.nodules)
            lit = np.float32(look.nodule_hu) + np.float32(0.8 * look.texture_hu) * grain
            value = value + bright * (lit - value)
            veil = np.float32(0.35 * look.fill * look.nodules) * _step(level - 0.35, 0.2)
            value = value + veil * (1 - bright) * (lit - value)
        return np.asarray(value, np.float32)


def _step(t: Array, width: float) -> Floats:
    """0 below, 1 above, smooth over about 4 ``width``."""
    return np.asarray(1 / (1 + np.exp(np.clip(-t / np.float32(width), -20, 20))), np.float32)
