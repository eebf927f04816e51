"""CHAI's schema of model cards, where this machine has it; it is not ours and is not kept here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

_SIGNATURES = "http://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd"
_NONE = (
    '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" '
    'targetNamespace="http://www.w3.org/2000/09/xmldsig#"><xs:element name="Signature"/>'
    "</xs:schema>"
)


def schema(folder: Path) -> Any:
    """The schema, with any element for a signature instead of what it would fetch from the W3C.

    Skips the test where `HEPATICA_TEST_DATA` names no folder that holds it.
    """
    import xmlschema

    given = Path(os.environ.get("HEPATICA_TEST_DATA", "/nowhere")) / "chai_card" / "schema.xsd"
    if not given.is_file():
        pytest.skip("no chai_card/schema.xsd in HEPATICA_TEST_DATA")
    text = given.read_text("utf-8")
    assert _SIGNATURES in text
    (folder / "signatures.xsd").write_text(_NONE, "utf-8")
    here = (folder / "signatures.xsd").as_uri()
    return xmlschema.XMLSchema(text.replace(_SIGNATURES, here), allow="local")
