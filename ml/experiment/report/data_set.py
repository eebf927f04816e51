"""The report's section on where the data come from, in the words of their owner."""

from __future__ import annotations

from html import escape

from ml.dataset.about import About
from ml.experiment.results.origin import DataSet


def section(data: DataSet) -> str:
    """HTML; what was not told stands there as not given."""
    rows = "".join(
        f'<tr><td class="left">{escape(what)}</td><td class="left">{escape(words)}</td></tr>'
        for what, words in (data.about or About()).rows()
    )
    return (
        "<h2>The data set</h2><p>In the words of whoever prepared it (--about); the software has "
        f"not checked them.</p><table>{rows}</table>"
    )
