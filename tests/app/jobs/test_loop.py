"""What a loop says of a fault that nobody thought of."""

from __future__ import annotations

from app.jobs import loop
from app.jobs.loop import Loop


def test_the_log_holds_kind_and_place_of_a_fault_and_no_value(monkeypatch, caplog):
    class Stumbling(Loop):
        kind = "stumbler"
        tries = 0

        def act(self) -> bool:
            self.tries += 1
            if self.tries == 1:
                raise ValueError("Secret^Sylvia")
            return False

    monkeypatch.setattr(loop, "_PAUSE_S", 0.0)
    Stumbling().work(once=True)
    [entry] = caplog.records
    assert "ValueError" in entry.getMessage() and "test_loop.py" in entry.getMessage()
    assert "Sylvia" not in caplog.text
