import hashlib

import pytest

from ml.config import seed_for
from ml.ground import seeds


@pytest.mark.parametrize("text", ["", "1:order:2", '["gan", "cyst"]'])
def test_a_seed_is_the_first_63_bits_of_the_hash(text):
    bits = bin(int(hashlib.sha256(text.encode()).hexdigest(), 16))[2:].zfill(256)
    assert seeds.of_text(text) == int(bits[:63], 2)


def test_the_seed_of_a_piece_of_work_stays():
    assert seed_for("gan", "cyst", 0, 1) == seeds.of_text('["gan", "cyst", "0", "1"]')
