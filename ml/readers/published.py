"""What readers of comparable published studies told apart: figures beside a study's own.

Each figure is from the paper's abstract, as reported there. Their designs differ from one another
and from any study here, so they are no norm, and nothing is tested against them.
"""

from __future__ import annotations

from dataclasses import dataclass

CAUTION = (
    "Published figures are of other images, generators, readers, shares of synthetic images and "
    "questions: designs differ, so they are no norm, and nothing is tested against them."
)


@dataclass(frozen=True)
class Share:
    """A share (0–1) with the 95 % interval that the abstract gives, if it gives one."""

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Published:
    """A published study: who and where, what was read by whom, and what they made of it.

    ``right`` is the share of all images called right, ``found`` that of synthetic ones called so.
    """

    study: str
    link: str
    images: str
    readers: str
    right: Share | None = None
    found: Share | None = None


_TORDJMAN = ("Tordjman, Yuce et al., Radiology 2026", "https://pubs.rsna.org/journal/radiology")

PUBLISHED = (
    Published(
        "Park et al., JMIR Med Inform 2021;9(3):e23328",
        "https://doi.org/10.2196/23328",
        "150 real and 150 synthetic body CT (PGGAN)",
        "10 radiologists",
        right=Share(1781 / 3000),
        found=Share(779 / 1500),
    ),
    Published(
        "AI-generated colon polyp images, Biomedicines 2025;13(7):1561",
        "https://www.mdpi.com/2227-9059/13/7/1561",
        "8 real, 8 augmented and 8 synthetic colonoscopy images (CycleGAN, diffusion)",
        "32 gastroenterologists",
        right=Share(0.612, 0.577, 0.646, "of three answers: real, augmented, synthetic"),
        found=Share(0.613, note="of three answers"),
    ),
    Published(
        *_TORDJMAN,
        "77 real and 77 synthetic radiographs (GPT-4o)",
        "17 radiologists",
        right=Share(0.75, 0.68, 0.81),
    ),
    Published(
        *_TORDJMAN,
        "55 real and 55 synthetic chest radiographs (RoentGen)",
        "17 radiologists",
        right=Share(0.70, 0.62, 0.78),
    ),
    Published(
        "Wong et al., GazeVaLM, arXiv 2604.11653 (2026)",
        "https://arxiv.org/abs/2604.11653",
        "30 real and 30 synthetic chest radiographs (RoentGen)",
        "16 radiologists, with eye tracking",
        right=Share(0.801),
    ),
    Published(
        "GazeVal, arXiv 2503.20967 (2025)",
        "https://arxiv.org/abs/2503.20967",
        "synthetic chest radiographs (RoentGen)",
        "16 radiologists, with eye tracking",
        found=Share(0.966),
    ),
)
