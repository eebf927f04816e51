"""``make bench``: medians and ratios, both sides measured in the same run.

Each figure names its unit. Ratios compare with a baseline that runs on the same machine a moment
before, because absolute times mean little on a shared one.
"""

from __future__ import annotations

import argparse
import sys

from bench import (
    burned_in,
    copied,
    coverage,
    crowd,
    difficulty,
    gpu,
    inference,
    leaks,
    pacs,
    planner,
    recognition,
    requests,
    serving,
    tissue,
    training,
    trust,
    uploads,
    verdicts,
    viewer,
)

SECTIONS = {
    "classification": serving.classification,
    "slice-open": requests.slice_open,
    "next-trial": requests.next_trial,
    "upload": uploads.section,
    "readers": crowd.readers,
    "memory": crowd.memory,
    "cold-start": crowd.cold_start,
    "viewer": viewer.section,
    "training": training.steps,
    "gpu": gpu.section,
    "burned-in": burned_in.found,
    "coverage": coverage.intervals,
    "inference": inference.section,
    "memorisation": copied.section,
    "tissue": tissue.section,
    "pacs": pacs.answers,
    "planner": planner.agreement,
    "leaks": leaks.found,
    "recognition": recognition.found,
    "verdicts": verdicts.mixes,
    "difficulty": difficulty.calibration,
    "trust": trust.section,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help="default: all; also with commas between"
    )
    told = parser.parse_args().sections
    chosen = [name for words in told for name in words.split(",") if name] or list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name in chosen:
        print(f"== {name}", flush=True)
        for line in SECTIONS[name]():
            print(f"  {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
