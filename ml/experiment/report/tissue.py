"""The report's section on phantom lesions in real tissue: what they are, and whose tissue it is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ml.experiment.outcomes import PastedOutcome
from ml.ground.counted import counted

_SHOWN = 40
"""Patients that are named; a run's ``tasks/tissue-*/result.json`` has them all."""


def section(found: Sequence[PastedOutcome] | None) -> str:
    """HTML; empty where no arm has such lesions."""
    if not found:
        return ""
    made, (low, high) = found[0].made, found[0].made.greys_hu
    rows = "".join(
        f'<tr><td class="left">{escape(one.lesion_class)}</td><td>{one.rois}</td>'
        f"<td>{len(one.slices)}</td><td>{len(one.patients)}</td>"
        f'<td class="left">{escape(_named(one.patients))}</td></tr>'
        for one in found
    )
    files = sorted({name for one in found for name in one.slices})
    return (
        "<h2>Phantom lesions in real tissue</h2>"
        '<div class="answer warn"><p>The tissue of the arm classic+tissue is real, of slices of '
        "patients; the lesions in it are simulated, pasted into the liver by its mask (python -m "
        "ml paste). No generator was trained for it. By name and by pixels none of these patients "
        "tests, nor chooses a size.</p></div>"
        f"<p>{sum(made.counts.values())} lesions were pasted into {counted(made.slices, 'slice')} "
        f"of {counted(made.patients, 'patient')}: phantom {escape(made.phantom_version)}, "
        f"difficulty {made.difficulty:g}, seed {made.seed}, {made.shrunk} of them smaller than "
        "drawn for want of room. Pixels "
        f"of {made.spacing_mm:g} mm, slices {made.thickness_mm:g} mm thick, greys from {low:g} to "
        f"{high:g} HU in steps of {made.step_hu:.2g} HU, as the command was told. Digest <code>"
        f"{made.digest}</code>. The first of each class are trained on and measured, the same in "
        "all folds and seeds:</p>"
        '<div class="scroll" tabindex="0"><table><tr><th class="left">class</th><th>ROIs</th>'
        '<th>slices</th><th>patients</th><th class="left">whose tissue</th></tr>'
        f"{rows}</table></div><details><summary>{counted(len(files), 'slice')}</summary>"
        f"<p>{escape(', '.join(files))}</p></details>"
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
