"""Reader statistics for the terminal: a file of ratings analysed, and results as plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml.statistics import mrmc, roc
from ml.statistics.mrmc import CovarianceMethod
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

Json = dict[str, Any]


def analyse_ratings(
    ratings: Ratings,
    covariance: CovarianceMethod | None = None,
    confidence: float = 0.95,
    margin: float = 0.10,
) -> Json:
    """Every reader under every treatment, then random readers, then fixed readers.

    JSON: ``or`` as `ml.statistics.mrmc.Analysis.to_dict` (None with ``or_refused`` when it cannot
    be had), ``fixed_readers`` likewise, ``readers`` with ``{"reader", "treatment", "auc", "low",
    "high", "n", "method", …}``, ``cases``, ``n``, ``warnings``.
    """
    present = int(ratings.truth.sum())
    result: Json = {
        "n": {
            "readers": len(ratings.readers),
            "treatments": len(ratings.treatments),
            "cases": len(ratings.cases),
            "real": len(ratings.cases) - present,
            "synthetic": present,
        },
        "cases": len(ratings.cases),
        "confidence": confidence,
        "margin": margin,
        "readers": [
            _reader(ratings, i, j, confidence, margin)
            for i in range(len(ratings.treatments))
            for j in range(len(ratings.readers))
        ],
        "or": None,
        "or_refused": None,
        "fixed_readers": None,
        "fixed_readers_refused": None,
        "warnings": [],
    }
    try:
        found = mrmc.random_readers(ratings, "auc", covariance, confidence)
        result["or"] = found.to_dict()
        result["warnings"] = list(found.warnings)
    except ReadersError as error:
        result["or_refused"] = str(error)
    try:
        fixed = mrmc.fixed_readers(ratings, "auc", covariance, confidence)
        result["fixed_readers"] = fixed.to_dict()
    except ReadersError as error:
        result["fixed_readers_refused"] = str(error)
    if not ratings.complete:
        result["warnings"].append(
            "Not every reader rated every case under every treatment; covariances are from a "
            "delete-one-case jackknife over all cases."
        )
    return result


def _reader(ratings: Ratings, i: int, j: int, confidence: float, margin: float) -> Json:
    truth, scores, _ = ratings.cell(i, j)
    entry: Json = {"reader": ratings.readers[j], "treatment": ratings.treatments[i]}
    try:
        found = roc.auc_interval(truth, scores, confidence)
        verdict = roc.verdict(truth, scores, margin)
    except ReadersError as error:
        return {
            **entry, "auc": None, "low": None, "high": None, "n": len(truth), "method": "none",
            "note": str(error), "different_from_chance": None, "equivalent_to_chance": None,
        }  # fmt: skip
    return {
        **entry,
        "auc": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "method": found.method,
        "note": found.note,
        "different_from_chance": verdict.different,
        "equivalent_to_chance": verdict.equivalent,
    }


def analysis_text(result: Json) -> str:
    """The result of `analyse_ratings` as tables."""
    n, percent = result["n"], f"{result['confidence']:.0%}"
    lines = [
        f"{n['readers']} readers, {n['treatments']} treatments, {n['cases']} cases "
        f"({n['real']} real, {n['synthetic']} synthetic)",
        "",
        *table(
            ("reader", "treatment", "AUC", percent, "n", "method"),
            [
                (r["reader"], r["treatment"], _n(r["auc"]), _range(r), str(r["n"]),
                 r["note"] or r["method"])
                for r in result["readers"]
            ],
        ),
    ]  # fmt: skip
    for key, refused in (("or", "or_refused"), ("fixed_readers", "fixed_readers_refused")):
        found = result[key]
        lines.append("")
        if found is None:
            lines.append(f"Refused: {result[refused]}")
            continue
        lines.append(f"For {found['population']}; {found['covariance']} covariances")
        lines += table(
            ("treatment", "mean AUC", percent, "df"),
            [
                (t["treatment"], _n(t["auc"]), _range(t), _n(t["df"], 2))
                for t in found["treatments"]
            ],
        )
        lines += table(
            ("difference", "value", percent, "p"),
            [
                (f"{d['first']} − {d['second']}", _n(d["value"]), _range(d), _n(d["p"]))
                for d in found["differences"]
            ],
        )
        if found["f"] is not None:
            lines.append(
                f"F({found['df1']}, {_n(found['df2'], 2)}) = {found['f']:.4f}, p = {found['p']:.4f}"
            )
    parts = (result["or"] or result["fixed_readers"] or {}).get("components", {})
    lines += ["", *(f"{k:10} {v:.10g}" for k, v in parts.items() if v is not None)]
    lines += [f"warning: {w}" for w in result["warnings"]]
    return "\n".join(lines)


def plan_text(result: Json) -> str:
    """The result of `ml.statistics.power.plan` as tables."""
    lines = [
        f"{result['readers']} readers, {result['cases']} images, effect {result['effect']} in AUC, "
        f"margin ±{result['margin']}, alpha {result['alpha']}",
        "",
    ]
    if result["mrmc"] is None:
        lines.append(f"Refused: {result['refused']}")
    else:
        lines.append(f"Two generators, other readers too: power {result['power']:.3f}")
    one = result["one_generator"]
    if one is not None:
        lines.append(
            f"One generator, other readers too: power {one['difference']:.3f} for the difference "
            f"from 0.5, {one['equivalence']:.3f} for equivalence"
        )
    single = result["single_reader"]
    lines += [
        f"One reader alone: power {single['area_difference_power']:.3f} for the difference from "
        f"0.5, {single['area_equivalence_power']:.3f} for equivalence "
        f"(0.8 needs {single['images_for_equivalence_80']} images)",
        "",
        "Power for a difference between two generators, readers down, images across",
        *table(
            ("readers", *(str(k) for k in result["grid"]["cases"])),
            [
                (str(j), *(f"{p:.3f}" for p in row))
                for j, row in zip(result["grid"]["readers"], result["grid"]["power"], strict=True)
            ],
        ),
        "",
        *(f"assumption: {a}" for a in result["assumptions"]),
    ]
    return "\n".join(lines)


def rehearsal_text(result: Json) -> str:
    """The result of `ml.readers.rehearsal.Rehearsal` as tables."""
    design, verdicts = result["design"], result["verdicts"]
    lines = [
        f"{result['studies']} simulated studies of {design['readers']} readers and "
        f"{design['images']} images; true AUC {result['true_area']:.3f}, true share correct "
        f"{result['true_accuracy']:.3f}",
        "",
        *table(
            ("interval (nominal 0.95)", "coverage", "95%", "n", "mean width"),
            [
                (c["name"], _n(c["coverage"], 3), _range(c, 3), str(c["n"]),
                 _n(c.get("mean_width"), 3))
                for c in result["coverage"]
            ],
        ),
        "",
    ]  # fmt: skip
    for key, word in (("per_reader", "one reader"), ("across", "across readers")):
        found = verdicts[key]
        if found["n"]:
            lines.append(
                f"{word}: different from chance in {found['different']:.3f}, equivalent in "
                f"{found['equivalent']:.3f} of {found['n']}"
            )
    return "\n".join(lines)


def audit_text(result: Json) -> str:
    """The result of `ml.leak_audit.audit.Audit.to_dict` as a table, worst first."""
    order = {"red": 0, "amber": 1, "green": 2}
    rows = sorted(result["features"], key=lambda f: (order[f["verdict"]], -f["auc"]))
    learned = result["classifier"]
    lines = [
        f"{result['verdict'].upper()}: {result['text']}",
        f"{result['n']['real']} real, {result['n']['synthetic']} synthetic; red and amber need a "
        f"lower 95 % bound above {result['bound']}",
        "",
        *table(
            ("verdict", "group", "feature", "AUC", "95%", "detail"),
            [
                (f["verdict"], f["group"], f["name"], _n(f["auc"], 3), _range(f, 3), f["detail"])
                for f in rows
            ],
        ),
        "",
        f"classifier: {learned['verdict']}, AUC {_n(learned['auc'], 3)} {_range(learned, 3)} "
        f"({learned['detail']})",
    ]
    if result["smallest_auc_found"] is None:
        lines.append("So few images that no difference could be shown.")
    else:
        lines.append(
            f"With so many images, an AUC of {result['smallest_auc_found']:.2f} or more would be "
            "found."
        )
    if result["skipped"]:
        lines.append(f"skipped, no images: {', '.join(result['skipped'][:10])}")
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell; nothing at all without rows."""
    if not rows:
        return []
    every = [head, *rows]
    widths = [max(len(row[k]) for row in every) for k in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in every
    ]


def _n(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _range(figure: Mapping[str, Any], digits: int = 4) -> str:
    if figure.get("low") is None or figure.get("high") is None:
        return "–"
    return f"{figure['low']:.{digits}f} to {figure['high']:.{digits}f}"
