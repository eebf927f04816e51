"""What the page shows as one table: a figure a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.models.monitoring.acceptance import Agreed
from app.models.monitoring.inputs import Input, Side
from app.models.monitoring.monitoring import Monitoring
from app.models.monitoring.months import Month
from ml.ground.delimited import written
from ml.statistics.figure import Figure

COLUMNS = ("section", "of", "measure", "value", "low", "high", "n", "note")

Line = tuple[object, ...]


def csv(found: Monitoring) -> bytes:
    """Every figure and count, with its interval, its n and why there is none, as CSV."""
    return written(COLUMNS, _lines(found)).encode()


def _lines(found: Monitoring) -> Iterator[Line]:
    own = found.checkpoint
    for name, value in (
        ("made at", found.made_at), ("checkpoint", own.name), ("kind of image", found.kind.value),
        ("ONNX SHA-256", own.onnx_sha256), ("calibration SHA-256", own.trust_sha256),
        ("time zone of months", found.time_zone),
        ("cases closed by a blinded reading left out", found.closed),
        ("cases deleted since it came", found.deleted_cases),
    ):  # fmt: skip
        yield "about", "", name, value, None, None, None, None
    for month in (*found.months.each, found.months.whole):
        yield from _month(month)
    given = found.acceptance
    for name, agreed in (("before the score", given.blind), ("score in sight", given.shown)):
        yield from _agreed(name, agreed)
    changed = given.changed
    for name, figure in (
        ("differed, changed to the network's", changed.to_network),
        ("differed, changed to a third class", changed.to_another),
        ("agreed, changed to another class", changed.left_network),
    ):
        yield _figure("acceptance", "changed since", name, figure)
    yield _count("acceptance", "", "another network's score in sight", given.elsewhere)
    yield from _local(found)
    yield from _inputs(found)


def _month(month: Month) -> Iterator[Line]:
    for name, count in (
        ("lesions scored", month.lesions), ("withdrawn since", month.withdrawn),
        ("patients", month.patients), ("likeness not told", month.unknown),
        ("with probabilities", month.probabilities), ("without a set", month.no_set),
        *((f"sets of {size}", count) for size, count in month.set_sizes.items()),
    ):  # fmt: skip
        yield _count("month", month.month, name, count)
    yield _figure("month", month.month, "unlike the training ROIs", month.unlike)
    yield _figure("month", month.month, "agreed before the score", month.agreed)


def _agreed(name: str, agreed: Agreed) -> Iterator[Line]:
    yield _count("acceptance", name, "classes given", agreed.given)
    yield _count("acceptance", name, "patients", agreed.patients)
    yield _count("acceptance", name, "cannot tell", agreed.cannot_tell)
    yield _figure("acceptance", name, "agreed", agreed.agreed)
    yield _figure("acceptance", name, "kappa", agreed.kappa)
    for key, figure in agreed.of_called.items():
        yield _figure("acceptance", name, f"agreed where the network says {key}", figure)
    for key, figure in agreed.of_given.items():
        yield _figure("acceptance", name, f"agreed where the radiologist says {key}", figure)


def _local(found: Monitoring) -> Iterator[Line]:
    local, test = found.local, found.local.test
    about = f"classes by {local.standard.value} standard"
    for name, count in (
        ("lesions", test.n_lesions), ("patients", test.n_patients),
        *((f"by {basis}", n) for basis, n in local.basis.items()),
        *((f"lesions of {key}", n) for key, n in test.lesions_of_class.items()),
        *((f"patients with {key}", n) for key, n in test.patients_of_class.items()),
        ("reviews disagree", local.disagreed), ("left out: other", local.left_out.other),
        ("left out: imaging only", local.left_out.imaging),
        ("left out: imaging only, score in sight", local.left_out.seen),
        ("left out: patients of the training data", local.left_out.trained),
        ("left out: reviewed before those", local.left_out.older),
    ):  # fmt: skip
        yield _count("local test", about, name, count)
    yield _figure("local test", about, "called rightly", test.accuracy)
    for row in found.beside:
        yield _figure("local test", row.of, row.measure, row.here, row.verdict.words)
        if row.card is not None:
            yield _figure("card", row.of, row.measure, row.card, row.source)
    for one in local.subgroups:
        name = f"{one.group}: {one.value}"
        yield _count("subgroup", name, "lesions", one.n_lesions)
        yield _figure("subgroup", name, "called rightly", one.right)
        for key, figure in one.sensitivity.items():
            yield _figure("subgroup", name, f"sensitivity {key}", figure)


def _inputs(found: Monitoring) -> Iterator[Line]:
    drift = found.inputs
    if drift.why:
        yield "inputs", "", "compared", None, None, None, None, drift.why
    for name, window in (("reference", drift.before), ("recent", drift.now)):
        if window is not None:
            dates = f"{window.first} to {window.last}"
            yield "inputs", name, "window", dates, None, None, window.patients, "patients"
    if drift.noticed is not None:
        yield "inputs", "", "distance that is noticed", drift.noticed, None, None, None, "about"
    for one in (*drift.told, *(drift.measured or ())):
        yield from _input(one)


def _input(one: Input) -> Iterator[Line]:
    for name, side in (("reference", one.before), ("recent", one.now)):
        yield from _side(one, name, side)
    n = one.before.n + one.now.n
    said = one.why or ("changed" if one.changed else "no change shown")
    yield "inputs", one.name, "distance", one.distance, None, None, n, said
    yield "inputs", one.name, "adjusted p", one.p, None, None, n, said
    if one.beyond is not None:
        yield _figure("inputs", one.name, "outside the training range", one.beyond)


def _side(one: Input, name: str, side: Side) -> Iterator[Line]:
    if side.quartiles is not None:
        low, middle, high = side.quartiles
        yield (
            "inputs", one.name, f"median, {name}", middle, low, high, side.n,
            f"{one.unit} low and high are quartiles".strip(),
        )  # fmt: skip
    shares: Mapping[str, float] = side.shares or {}
    for word, share in shares.items():
        yield "inputs", one.name, f"share of {word}, {name}", share, None, None, side.n, None


def _count(section: str, of: str, measure: str, count: int) -> Line:
    return section, of, measure, count, None, None, None, None


def _figure(section: str, of: str, measure: str, found: Figure, note: str = "") -> Line:
    said = "; ".join(part for part in (found.note, note) if part)
    return section, of, measure, found.value, found.low, found.high, found.n, said or None
