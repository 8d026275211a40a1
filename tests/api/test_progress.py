"""What is shown of a long run, and when."""

import io
from types import SimpleNamespace

import pytest

from tokenroof.api import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_shown_unless_asked_or_where_nobody_looks(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    for enabled in (False, True):
        with progress.watching("h100", enabled=enabled) as watch:
            assert watch is None
        with progress.searching("h100", enabled=enabled) as watch:
            assert watch is None


def test_a_long_run_shows_requests_time_and_speed(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setenv("COLUMNS", "120")
    with progress.watching("h100", enabled=True) as watch:
        for ended in (1000, 2000):
            watch(SimpleNamespace(requests=9000, ended=ended, now_s=150.0))
        shown = progress.sys.stderr.getvalue()
    assert "requests, 2 min simulated" in shown


def test_a_short_run_shows_nothing(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    with progress.watching("h100", enabled=True) as watch:
        watch(SimpleNamespace(requests=9000, ended=10, now_s=1.0))
    assert progress.sys.stderr.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 s"), (119.0, "119 s"), (600.0, "10 min"), (9000.0, "2.5 h")]
)
def test_simulated_times_are_short(seconds, text):
    assert progress.simulated_text(seconds) == text


def test_rows_are_counted_where_somebody_looks(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    for enabled in (False, True):
        with progress.counting("validate", total=5, enabled=enabled) as tell:
            assert tell is None
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    with progress.counting("validate", total=931, enabled=True) as tell:
        tell(12)
        tell(30)
    assert "42/931 rows" in progress.sys.stderr.getvalue()
