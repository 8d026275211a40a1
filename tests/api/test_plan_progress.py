"""What is shown of a plan while it goes on."""

import io

from tokenroof.api.plan_progress import planning
from tokenroof.search.core import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_shown_unless_asked_or_where_nobody_looks(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    for enabled in (False, True):
        with planning("small", enabled=enabled) as watch:
            assert watch is None
    monkeypatch.setattr("sys.stderr", Terminal())
    with planning("small", enabled=False) as watch:
        assert watch is None


def test_stages_and_simulations_are_shown(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "140")
    with planning("small on h100", enabled=True) as watch:
        watch(Progress(stage="screen", done=1, total=1, text="131,712 candidates"))
        watch(Progress(stage="simulate", done=1234, total=0))
    assert "small on h100: simulating" in terminal.getvalue()
    assert "1,234 simulations over" in terminal.getvalue()
