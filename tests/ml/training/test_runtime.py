"""The machine that trains: a device that is not there is refused, seeds change nothing else."""

from __future__ import annotations

import pytest
import torch

from ml.training import runtime


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_asked_for_and_not_there_is_refused() -> None:
    with pytest.raises(runtime.DeviceError, match="torch sees none"):
        runtime.device("cuda")


@pytest.mark.parametrize("name", ["gpu", "", "meta"])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(runtime.DeviceError):
        runtime.device(name)


def test_named_seed_repeats_and_leaves_the_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with runtime.seeded("a", 1):
        first = torch.rand(3)
    assert (torch.rand(2) == expected).all()
    with runtime.seeded("a", 1):
        assert (torch.rand(3) == first).all()
    with runtime.seeded("a", 2):
        assert (torch.rand(3) != first).any()


def test_training_takes_one_thread() -> None:
    torch.set_num_threads(2)
    runtime.prepare()
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
