"""Every number of the preset ``quick``, on phantoms and on real nodules: ``make test-all``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.golden import pins, quick
from tests.golden.test_pins import differences, leaves


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("source", [quick.PHANTOMS, quick.NODULES])
def test_every_number_of_quick(source: str, tmp_path: Path):
    if source == quick.NODULES and not os.environ.get("HEPATICA_TEST_DATA"):
        pytest.skip("HEPATICA_TEST_DATA names no folder with the nodules")
    pinned = quick.pinned()
    found, was = quick.of(source, tmp_path), pinned[source]
    assert found["files"] == was["files"]
    assert dict(leaves(pins.plain(found["results"]))).keys() == dict(leaves(was["results"])).keys()
    if pins.canary() != pinned["canary"]:
        pytest.skip("this machine trains to other bits than that of the pins; names were compared")
    if source == quick.PHANTOMS:
        digest = found["results"]["dataset"]["digest"]
        assert digest in quick.DIGESTS
        if digest != quick.DIGESTS[0]:
            pytest.skip("this processor rounds phantoms otherwise; names were compared")
    assert differences(found, was, 1e-6) == []
