"""Attenuation of tissues in portal-phase CT, in HU at 120 kVp.

Sources, by the letter in ``RANGES``:

A  Unenhanced tissue: Prokop & Galanski, *Spiral and Multislice Computed Tomography of the Body*
   (Thieme 2003); Buzug, *Computed Tomography* (Springer 2008), p. 475: air −1000, lung −850…−910,
   fat −50…−100 (abdominal fat of adults commonly to −120), water 0, liver 45…65, spleen 35…55,
   blood 45…65, bone 300…3000.
B  Portal-phase enhancement of the liver of about 50 HU or more: Heiken et al., Radiology
   1995;195:353; Baron, AJR 1994;163:323. With 45…65 HU unenhanced this gives about 90…130 HU; a
   fatty liver is lower by its fat (Starekova et al., Radiology 2021;301:250).
C  Vessels in the portal phase: portal vein, hepatic veins and aorta about 130…190 HU
   (Heiken 1995; Kanematsu et al., Open J Radiol 2013;3:112).
D  Sharp margin, homogeneous, ≤ 20 HU: benign cyst. Ill-defined margin, heterogeneous, > 20 HU on
   the portal phase: suspicious (ACR white paper on incidental liver lesions, Gore et al., J Am Coll
   Radiol 2017;14:1429).
E  Hypovascular metastases appear as low-density areas against the enhanced liver (Baron 1994).
F  Nodular foci of hemangiomas in the portal phase are mostly below, at times near, the attenuation
   of the vessels and heterogeneous in half or more (AJR 2010, doi 10.2214/AJR.09.3324); the
   unfilled part keeps the attenuation of unenhanced blood (A).

Values without a letter are the makers' estimates for the scenery, which carries no truth.
"""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """Lowest and highest mean attenuation in HU, and the letters of the sources above."""

    low: float
    high: float
    source: str = ""


RANGES: dict[str, Range] = {
    "air": Range(-1000, -1000, "A"),
    "lung": Range(-900, -820, "A"),
    "fat": Range(-118, -92, "A"),
    "water": Range(0, 0, "A"),
    "muscle": Range(52, 72, "A"),
    "liver": Range(90, 128, "AB"),
    "fatty_liver": Range(58, 88, "AB"),
    "spleen": Range(105, 138, "AB"),
    "blood": Range(135, 182, "C"),
    "kidney": Range(165, 205),
    "pancreas": Range(75, 105),
    "bowel_wall": Range(70, 100),
    "stomach_content": Range(5, 35),
    "bile": Range(2, 14, "A"),
    "marrow": Range(150, 260, "A"),
    "cortex": Range(550, 900, "A"),
    "cartilage": Range(90, 130),
    "cyst": Range(0, 18, "D"),
    "metastasis": Range(40, 85, "DE"),
    "hemangioma": Range(42, 68, "AF"),
    "necrosis": Range(16, 36, "D"),
}
