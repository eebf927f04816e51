"""Reader studies of earlier versions open, verify and come to what they came to before."""

from __future__ import annotations

import json

import pytest

from tests.golden import old_studies
from tests.golden.test_pins import differences


@pytest.mark.parametrize("name", old_studies.NAMES)
def test_a_study_of_an_earlier_version_comes_to_the_same(name, tmp_path):
    pinned = json.loads(old_studies.PINS.read_text("utf-8"))[name]
    database = old_studies.opened(name, tmp_path)
    assert differences(old_studies.found_in(database), pinned, 1e-9) == []
    database.engine.dispose()
