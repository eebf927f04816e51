"""Text in Markdown and XML that says what it says: no heading, link, picture or tag comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\`*\[\]<|]|~~|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
_AT_START = re.compile(r"^(?:([-+](?=\s|$|-)|=|>|#)|(\d{1,9})([.)])(?=\s|$))", re.MULTILINE)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown(text: str) -> str:
    """Text whose every character is shown as it is, in one or several lines of Markdown."""
    lines = "\n".join(line.strip() for line in shown(text).splitlines())
    return _AT_START.sub(
        lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", _plain(lines)
    )


def _plain(text: str) -> str:
    return _MARKUP.sub(lambda found: "\\" + "\\".join(found[0]), text)


def cell(text: str) -> str:
    """The same in one cell of a table."""
    return _plain(" ".join(shown(text).split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = ["| " + " | ".join(cell(word) for word in row) + " |" for row in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def code(text: str) -> list[str]:
    """Lines of a block that is shown as it is; no run of backticks in it ends it."""
    kept = shown(text)
    longest = max((len(run) for run in re.findall("`+", kept)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *kept.splitlines(), fence]


def shown(text: str) -> str:
    """Without what XML 1.0 cannot hold (section 2.2): U+FFFD stands in its place."""
    return _NOT_IN_XML.sub("\ufffd", text)
