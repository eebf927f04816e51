"""What a series is called, as far as it may be kept; and how fast its slices are to be played.

A series description is typed by people, and may hold a name, a date or a number of the patient
(PS3.15 table E.1-1 does away with it, and its option "clean descriptors" asks for what is known to
be harmless). Of it stay the words of a list, kernels and thicknesses; a word that is not known is
left out, whatever it is, and a dot stands for it. Some words of the list are also surnames (Lung,
Bone, Head): as one of them it says nothing that the image does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ml.images.decimals import DECIMAL

LONGEST = 64
LEFT_OUT = "…"
SLOWEST_PER_S, FASTEST_PER_S = 1.0, 60.0
"""Slices a second that a file may ask for; a browser draws no more."""

_HARMLESS = """
abd abdo abdomen abdominal abdominopelvic thx thorax thoracic chest pelvis pelvic liver hepatic
hepatobiliary upper lower whole body trunk torso head neck brain spine kidney kidneys renal
pancreas spleen lung lungs mediastinum bone bones soft tissue vessel vessels aorta angio ct cta
ctap cap tap scan series recon reconstruction reformat reformatted topogram scout localizer
localiser survey planning dose report phantom simulated test ax axi axial tra transverse
transversal cor coronal sag sagittal obl oblique mpr mip minip avg average vrt curved thin thick
slab slice slices mm cm volume vol stack phase phases native nativ plain unenhanced enhanced
contrast contrasted noncontrast nc ce km iv ivc oral po pre post with without w wo no not a an
and of the in on to for early late delayed delay equilibrium interstitial nephrographic
excretory arterial art arteriell portal portovenous venous ven pv pvp venös venoes portalvenös
portalvenoes pv1 pv2 inspiration expiration insp exp breathhold bh supine prone ff hf std stnd
standard smooth sharp medium detail edge filter kernel mono monoenergetic kev dual energy
spectral iodine map virtual vnc low high res hr hrct iterative asir safire admire idose imr aidr
veo deepl dlir fbp leber oberbauch becken spät spaet früh frueh weichteil knochen lunge axiale
koronar koronal dünn duenn schicht rekonstruktion nierenphase leberphase foie tardif tardive
artériel arteriel artérielle arterielle veineux veineuse portale injecté injecte sans avec coupe
coupes hígado higado fase tardía tardia simple contraste fegato arteriosa venosa tardiva basale
mdc senza con lever vroege zonder met patient
"""
_WORDS = frozenset(_HARMLESS.split())
_KNOWN = re.compile(
    r"[bihudtq][a-z]?\d{2}[a-z]?(-\d)?"  # kernels of Siemens
    r"|fc\d{2}"  # and of Canon
    r"|asir-?v?\d{0,3}%?|idose\d?|[23]d"
    r"|\d{1,3}([.,]\d{1,3})?(mm|cm|s|sec|ml|kv|kvp|kev|hu|%)"
    r"|(0[.,](5|6|60|625|7|75|8|80|9)|[1-9][.,](0|00|2|25|5|50|75))(x\d[.,]\d{1,3})?"
    # a thickness without its unit, which is no day and month
)
_BETWEEN = re.compile(r"[\s_/,;+&()\[\]:*=<>|]+")
_OF_THE_FILM = ("RecommendedDisplayFrameRate", "CineRate")
FRAME_TIME = "FrameTime"
DESCRIPTION = "SeriesDescription"
"""Under this tag lies what `cleaned` leaves of it."""
PER_SECOND = "FramesPerSecond"
"""Under this tag, which is no keyword of DICOM, lies what `per_second` makes of ``FILM``."""
FILM = (*_OF_THE_FILM, FRAME_TIME)
"""Keywords that tell how fast a series is to be played, those asked first first."""


def cleaned(text: str) -> str:
    """The words of a description that may be kept, in their order; "" where there are none.

    Each run of words that are left out is told by one ``LEFT_OUT``.
    """
    kept: list[str] = []
    for word in filter(None, _BETWEEN.split(text)):
        parts = [word] if _is_known(word) else word.split("-")
        for part in filter(None, parts):
            told = part if _is_known(part) else LEFT_OUT
            if told != LEFT_OUT or kept[-1:] != [LEFT_OUT]:
                kept.append(told)
    if all(one == LEFT_OUT for one in kept):
        return ""
    line = " ".join(kept)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1].rpartition(' ')[0]}{LEFT_OUT}"


def _is_known(word: str) -> bool:
    low = word.lower().strip(".")
    return low in _WORDS or _KNOWN.fullmatch(low) is not None


def tags(told: Mapping[str, str]) -> dict[str, str]:
    """What is kept of a file's values of ``DESCRIPTION`` and ``FILM``, by its tag."""
    found = {}
    if line := cleaned(told.get(DESCRIPTION, "")):
        found[DESCRIPTION] = line
    if (speed := per_second(told)) is not None:
        found[PER_SECOND] = f"{speed:g}"
    return found


def per_second(told: Mapping[str, str]) -> float | None:
    """Slices a second that a file asks for, from its values of ``FILM``; None where it does not.

    What is no number, or slower or faster than can be played, is as if it were not there: it
    changes no value, and the usual speed is said.
    """
    for keyword in FILM:
        text = told.get(keyword, "").strip()
        if not DECIMAL.fullmatch(text):
            continue
        value = float(text)
        if keyword == FRAME_TIME:  # ms
            value = 1000 / value if value > 0 else 0.0
        if SLOWEST_PER_S <= value <= FASTEST_PER_S:
            return value
    return None
