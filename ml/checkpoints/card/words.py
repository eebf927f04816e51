"""What only the owner of a checkpoint can say, as they typed it: kept beside it, checked by nobody.

``words.json`` in a checkpoint's folder, a JSON or TOML file of ``python -m ml card --words``, or
the form of its page. Each is a text of at most `MOST` characters; "" where nothing was typed.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ml.ground.errors import HepaticaError, reason

FILE = "words.json"
"""Its name in a checkpoint's folder."""
MOST = 4000
"""Characters that one of them may have."""
MOST_BYTES = 1_000_000
"""Of a file of words."""

# What XML 1.0 cannot hold, and what turns the order of the letters that follow around.
_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff"
    "\u202a-\u202e\u2066-\u2069]"
)
_NEWLINES = re.compile("\r\n|\r|\x85|\u2028|\u2029")


class WordsError(HepaticaError):
    """Words of an owner that cannot be kept; ``field`` is which, "" for the whole."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def _word(label: str, hint: str, rows: int = 3) -> Any:
    return field(default="", metadata={"label": label, "hint": hint, "rows": rows})


@dataclass(frozen=True)
class OwnersWords:
    """What the owner typed, by the fields that it fills; "" where nothing was typed.

    Raises:
        WordsError: a text that is too long, holds control characters, or is no date where one is
            wanted.
    """

    version: str = _word("Version", "How you call this release, such as 1.2.", 1)
    released: str = _word("Release date", "As 2026-11-28.", 1)
    developer: str = _word("Developer", "Who made it: people, group, institution.", 1)
    contact: str = _word("Contact", "Where questions about it go.", 1)
    funding: str = _word("Funding", "Who paid, and their role.", 2)
    conflicts: str = _word("Conflicts of interest", "Of the developers, commercial ones too.", 2)
    stakeholders: str = _word(
        "Who was consulted", "Patients, clinicians, others who were asked while it was made.", 2
    )
    licence: str = _word("Licence of the network", "Such as Apache-2.0.", 1)
    release_stage: str = _word("Release stage", "Such as research prototype.", 1)
    regulatory_status: str = _word(
        "Regulatory status", "Approvals or clearances with their numbers, or none.", 2
    )
    intended_use: str = _word("Intended use", "For what question it is meant.")
    users: str = _word("Intended users", "Who is to use it, with what training.", 2)
    workflow: str = _word("Step of the work", "When in the reading it is looked at.", 2)
    population: str = _word(
        "Patients it is meant for", "Disease, age, scanner, contrast phase, part of the body."
    )
    out_of_scope: str = _word("Not meant for", "Uses and patients that you warn of.")
    risks: str = _word("Risks and biases", "That you know of, beyond what the card says by itself.")
    training_data: str = _word(
        "Where the data come from", "Sites, years, scanners, how cases were chosen and left out."
    )
    demographics: str = _word(
        "Age, sex, size, causes", "Of the training and test patients, and what is missing."
    )
    reference_standard: str = _word(
        "Reference standard",
        "Who said what each lesion is, on what (pathology, follow-up, reading), how many, blinded "
        "to what, how often they disagreed.",
    )
    annotation_quality: str = _word(
        "Quality of the annotations", "Repeated reading, kappa, how disagreements were settled."
    )
    configurations: str = _word(
        "Settings that were tried", "How many before these, and on what they were chosen.", 2
    )
    sample_size: str = _word("Sample size", "How it was arrived at.", 2)
    external_test: str = _word(
        "External test", "On whose lesions, with what figures and intervals."
    )
    reader_comparison: str = _word(
        "Comparison with readers", "Same cases, design, figures, reference."
    )
    human_factors: str = _word(
        "Use by people", "Override rate, time, what was seen of people using it."
    )
    monitoring: str = _word("Monitoring", "What is watched in use, how often, by whom.")
    maintenance: str = _word(
        "Updates", "When it is looked at again, what a change makes be tested again."
    )
    security_contact: str = _word("Security contact", "Where a weakness is told.", 1)
    ethics: str = _word("Ethics and consent", "Committee, approval number, consent or waiver.")
    registration: str = _word("Registration and protocol", "Registry, number, where it is read.", 2)
    data_availability: str = _word(
        "Availability of the data", "Where, for whom, under which licence.", 2
    )
    compute: str = _word(
        "Computing", "Time and energy of training, time of one answer, on what.", 2
    )
    references: str = _word("Publications and reports", "Of this network and its evaluation.")
    logs: str = _word("Logs", "What your site keeps of its use, how long, who reads it.", 2)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            object.__setattr__(self, item.name, _fit(item.name, getattr(self, item.name)))

    @property
    def typed(self) -> dict[str, str]:
        """Those that are not empty, by name."""
        return {key: text for key, text in dataclasses.asdict(self).items() if text}


FIELDS: Mapping[str, Mapping[str, Any]] = {
    item.name: item.metadata for item in dataclasses.fields(OwnersWords)
}
"""Name → label, hint and rows of its box in a form."""


def _fit(name: str, given: Any) -> str:
    label = FIELDS[name]["label"]
    if not isinstance(given, str):
        raise WordsError(
            f"{label} ({name}) must be a text in quotation marks, not a {type(given).__name__}.",
            name,
        )
    text = _NEWLINES.sub("\n", given).strip()
    if len(text) > MOST:
        raise WordsError(
            f"{label} has {len(text):,} characters; at most {MOST:,} are kept. Shorten it, and say "
            "where the rest can be read.",
            name,
        )
    unfit = _UNFIT.search(text)
    if unfit:
        raise WordsError(
            f"{label} holds a character that cannot be shown (U+{ord(unfit[0]):04X}, the "
            f"{unfit.start() + 1}. one). Type it anew without it.",
            name,
        )
    if name == "released" and text:
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            raise WordsError(
                f"{label} is no date of the calendar as 2026-11-28: {text[:40]!r}.", name
            ) from None
    return text


def read(data: Any) -> OwnersWords:
    """The words of ``{name: text}``.

    Raises:
        WordsError: no such form, a name that there is not, or a text that cannot be kept.
    """
    if not isinstance(data, Mapping):
        raise WordsError(
            f"The owner's words must be names with texts, not a {type(data).__name__}."
        )
    for name in data:
        if name not in FIELDS:
            near = difflib.get_close_matches(str(name), FIELDS, n=1, cutoff=0.0)[0]
            raise WordsError(
                f"There is nothing called {str(name)[:60]!r} among the owner's words; the nearest "
                f"is {near!r}. They are: {', '.join(FIELDS)}."
            )
    return OwnersWords(**data)


def load(path: str | Path) -> OwnersWords:
    """The words of a file, TOML where its name ends so, else JSON.

    Raises:
        WordsError: it cannot be read, is neither, holds a name twice, or as ``read``.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise WordsError(f"{file} cannot be read ({reason(error)}).") from error
    if len(raw) > MOST_BYTES:
        raise WordsError(f"{file} is larger than {MOST_BYTES:,} bytes; it is no file of words.")
    try:
        text = raw.decode("utf-8-sig")
        if file.suffix.lower() == ".toml":
            data: Any = tomllib.loads(text)
        else:
            data = json.loads(text, object_pairs_hook=_once)
    except WordsError as error:
        raise WordsError(f"{file}: {error}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        form = "TOML" if file.suffix.lower() == ".toml" else "JSON"
        raise WordsError(f"{file} is not {form} in UTF-8: {_short(error)}.") from error
    try:
        return read(data)
    except WordsError as error:
        raise WordsError(f"{file}: {error}", error.field) from error


def beside(folder: str | Path) -> OwnersWords:
    """The words in a checkpoint's folder; none where it has no such file. Raises as ``load``."""
    path = Path(folder) / FILE
    return load(path) if path.exists() else OwnersWords()


def dumped(words: OwnersWords) -> bytes:
    """``words.json``."""
    return (json.dumps(words.typed, indent=2, ensure_ascii=False) + "\n").encode()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise WordsError(f"it holds {twice[:40]!r} twice; say it once.")
    return found


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200]
