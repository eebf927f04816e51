"""How fast a machine is, by a clock that only the timed work turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ml.experiment import machine


class Work:
    """Steps that take ``each_s`` a ROI; ``hiccups``: what single calls take besides."""

    def __init__(self, each_s: float, hiccups: dict[int, float]) -> None:
        self.each_s, self.hiccups = each_s, hiccups
        self.now, self.calls = 0.0, 0

    def perf_counter(self) -> float:
        return self.now

    def of(self, batch: int) -> Callable[[], object]:
        def step() -> None:
            self.calls += 1
            self.now += self.each_s * batch + self.hiccups.get(self.calls, 0.0)

        return step


@pytest.mark.parametrize("hiccups", [{}, {3: 0.3}, {3: 0.3, 5: 0.3}])
def test_a_hiccup_is_not_taken_for_a_long_step(
    hiccups: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(0.001, hiccups)
    monkeypatch.setattr(machine, "time", work)
    assert machine._step_s(work.of, 64) == pytest.approx(0.064)


def test_a_long_step_is_counted_up_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(0.1, {3: 5.0})
    monkeypatch.setattr(machine, "time", work)
    assert machine._step_s(work.of, 64) == pytest.approx(6.4)
    assert work.calls == 7 and work.now < 9
