"""The same seed chooses the same images, and the same study freezes to the same hash."""

from __future__ import annotations

import json

import pytest

from tests.golden import reader_studies
from tests.golden.test_pins import differences


@pytest.mark.parametrize("what", ["compositions", "protocols"])
def test_what_is_chosen_and_frozen_is_as_it_was(what, tmp_path):
    pinned = json.loads(reader_studies.PINS.read_text("utf-8"))
    assert differences(reader_studies.found_in(tmp_path, what), pinned[what], 1e-9) == []
