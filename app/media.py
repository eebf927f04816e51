"""Media types: what a client accepts beside what is here (RFC 9110 12.5.1, PS3.18 8.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from fastapi import Request

from app.errors import NotAcceptable
from app.objects.related import RELATED

DICOM_JSON = "application/dicom+json"
JSON = "application/json"
BYTES = "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
"""Explicit VR Little Endian: what is kept has no other encoding."""

_PART = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^",])+')
_PARAMETER = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^";\s]*))\s*')
_MOST_RANGES = 100


@dataclass(frozen=True)
class Media:
    """A media type with its parameters, their names in lower case."""

    name: str
    parameters: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, text: str) -> Media:
        """What a header says; parameters that cannot be read are left out."""
        name = text.partition(";")[0].strip().lower()
        found = {
            one[1].lower(): re.sub(r"\\(.)", r"\1", one[2]) if one[2] is not None else one[3]
            for one in _PARAMETER.finditer(text, len(text.partition(";")[0]))
        }
        return cls(name, MappingProxyType(found))

    @property
    def kind(self) -> str:
        """The type of what a multipart holds; of anything else its own."""
        if self.name == RELATED:
            return self.parameters.get("type", "").lower()
        return self.name


@dataclass(frozen=True)
class Offer:
    """A form in which something can be answered.

    Attributes:
        kind: of each part, or of the whole.
        multipart: as parts of ``multipart/related``.
        syntax: transfer syntax of what it holds; "" where there is none.
    """

    kind: str
    multipart: bool = False
    syntax: str = ""

    @property
    def words(self) -> str:
        """As it would stand in an Accept header."""
        return f'{RELATED}; type="{self.kind}"' if self.multipart else self.kind


def chosen(request: Request, offers: Sequence[Offer]) -> Offer:
    """The offer that the client likes best; of several alike the first.

    The query parameter ``accept`` goes before the header (PS3.18 8.3.3.1).

    Raises:
        NotAcceptable: it takes none of them.
    """
    told = request.query_params.get("accept") or ", ".join(request.headers.getlist("accept"))
    ranges = [Media.of(one) for one in _PART.findall(told)[:_MOST_RANGES] if one.strip()]
    if not ranges:
        return offers[0]
    ranked = [(_liking(ranges, offer), -place) for place, offer in enumerate(offers)]
    (liking, place) = max(ranked)
    if liking <= 0:
        raise NotAcceptable(
            "What is here is given as " + " or ".join(offer.words for offer in offers)
            + ", and the Accept header takes none of these."
        )  # fmt: skip
    return offers[-place]


def _liking(ranges: Sequence[Media], offer: Offer) -> float:
    """The quality of the most specific range that fits, 0…1; 0 where none fits."""
    fitting = [(fit, _quality(one)) for one in ranges if (fit := _fit(one, offer))]
    return max(fitting)[1] if fitting else 0.0


def _fit(wanted: Media, offer: Offer) -> int:
    """How specifically a range names an offer; 0 where it does not."""
    if wanted.name == "*/*":
        fit = 1
    elif wanted.name == "multipart/*" and offer.multipart:
        fit = 2
    elif wanted.name == RELATED and offer.multipart:
        fit = 3 + _names(wanted.kind or "*/*", offer.kind)
        if fit == 3:
            return 0
    elif not offer.multipart and (named := _names(wanted.name, offer.kind)):
        fit = 1 + named
    else:
        return 0
    syntax = wanted.parameters.get("transfer-syntax", "*")
    return fit if not offer.syntax or syntax in ("*", offer.syntax) else 0


def _names(wanted: str, kind: str) -> int:
    """1 for any type, 2 for any subtype, 3 for the very one; 0 for another."""
    if wanted == kind:
        return 3
    if wanted == "*/*":
        return 1
    return 2 if wanted.endswith("/*") and kind.startswith(wanted[:-1]) else 0


def _quality(wanted: Media) -> float:
    told = wanted.parameters.get("q", "1")
    return min(1.0, float(told)) if re.fullmatch(r"\d?\.?\d{1,3}", told, re.ASCII) else 0.0
