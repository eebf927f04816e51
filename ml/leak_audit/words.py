"""A leak audit in plain text, for the terminal."""

from __future__ import annotations

from ml.ground.plain_text import number, span, table
from ml.leak_audit.record import Audit, Colour


def audit_text(result: Audit) -> str:
    """An audit as a table, worst first."""
    order = [Colour.RED, Colour.AMBER, Colour.GREEN]
    rows = sorted(result.features, key=lambda f: (order.index(f.verdict), -f.auc))
    learned = result.classifier
    lines = [
        f"{result.verdict.upper()}: {result.text}",
        f"{result.n.real} real, {result.n.synthetic} synthetic; red and amber need a "
        f"lower 95 % bound above {result.bound}",
        "",
        *table(
            ("verdict", "group", "feature", "AUC", "95%", "detail"),
            [
                (f.verdict, f.group, f.name, number(f.auc, 3), span(f.low, f.high, 3), f.detail)
                for f in rows
            ],
        ),
        "",
        f"classifier: {learned.verdict}, AUC {number(learned.auc, 3)} "
        f"{span(learned.low, learned.high, 3)} ({learned.detail})",
    ]
    if result.smallest_auc_found is None:
        lines.append("So few images that no difference could be shown.")
    else:
        lines.append(
            f"With so many images, an AUC of {result.smallest_auc_found:.2f} or more would be "
            "found."
        )
    if result.skipped:
        lines.append(f"skipped, no images: {', '.join(result.skipped[:10])}")
    return "\n".join(lines)
