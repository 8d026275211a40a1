"""Many runs in one file that answers SQL, made anew from what the runs hold."""

import os
import subprocess
import sys

import duckdb
import polars as pl
import pytest

from small_runs import QUESTION, run
from tokenroof.api.runs import index
from tokenroof.api.runs.index import INDEX, listing
from tokenroof.api.runs.reading import State
from tokenroof.api.runs.store import RunStore
from tokenroof.errors import InputError


def ask(directory, question):
    with duckdb.connect(str(directory / INDEX), read_only=True) as held:
        return held.execute(question).fetchall()


@pytest.fixture
def two(tmp_path):
    run(tmp_path / "a", 5)
    run(tmp_path / "b", 7)
    return tmp_path


def test_a_list_has_every_run_and_its_answer(two):
    with RunStore(two / "c", QUESTION):
        pass
    (two / "not a run").mkdir()
    found = listing(two)
    assert [(entry.run.name, entry.run.state.value, entry.answer) for entry in found.entries] == [
        ("a", "complete", "n°4"),
        ("b", "complete", "n°6"),
        ("c", "interrupted", None),
    ]
    assert found == listing(two)  # from the index now
    assert ask(two, "SELECT run, answer, records FROM runs WHERE state = 'complete' ORDER BY run") == [
        ("a", "n°4", 5),
        ("b", "n°6", 7),
    ]
    assert ask(two, "SELECT run, max(square) FROM choices GROUP BY run ORDER BY run") == [
        ("a", 16 / 7),
        ("b", 36 / 7),
    ]
    assert sorted(path.name for path in two.iterdir()) == ["a", "b", "c", "not a run", INDEX]


def test_large_tables_are_views(two, monkeypatch):
    monkeypatch.setattr(index, "_COPIED_ROWS", 10)
    listing(two)
    assert ask(two, "SELECT table_name, table_type FROM information_schema.tables ORDER BY 1") == [
        ("choices", "VIEW"),
        ("front", "BASE TABLE"),
        ("made_from", "BASE TABLE"),
        ("runs", "BASE TABLE"),
    ]
    assert ask(two, "SELECT count(*) FROM choices") == [(12,)]


def test_the_index_is_written_when_something_changed_only(two):
    listing(two)
    before = (two / INDEX).stat().st_mtime_ns
    listing(two)
    assert (two / INDEX).stat().st_mtime_ns == before
    run(two / "c", 3)
    assert len(listing(two).entries) == 3
    assert ask(two, "SELECT count(*) FROM runs") == [(3,)]


@pytest.mark.parametrize("content", [b"", b"not a database", b"\0" * 20_000])
def test_a_damaged_index_is_made_again(two, content):
    (two / INDEX).write_bytes(content)
    assert len(listing(two).entries) == 2
    assert ask(two, "SELECT count(*) FROM runs") == [(2,)]


def test_an_index_that_is_open_elsewhere_does_not_stop_a_list(two):
    listing(two)
    run(two / "c", 3)
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(two / INDEX)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        assert len(listing(two).entries) == 3
        other.communicate(b"\n", timeout=60)
    assert len(listing(two).entries) == 3


def test_tables_of_other_shapes_do_not_stop_a_list(two):
    with RunStore(two / "c", QUESTION, kind="sweep") as store:
        store.finish({"choices": pl.DataFrame({"label": [{"deep": [1]}], "another": [True]})})
    found = listing(two)
    assert len(found.entries) == 3
    assert found.entries[0].answer == "n°4"


def test_damage_is_a_state_in_the_list(two):
    (two / "a" / "choices.parquet").write_bytes(b"")
    (two / "b" / "run.json").write_bytes(b"{")
    found = listing(two).entries
    assert [entry.run.state for entry in found] == [State.DAMAGED] * 2
    assert "choices.parquet: damaged" in found[0].run.problem
    assert "run.json: damaged" in found[1].run.problem
    run(two / "a", 5, resume=True)
    assert listing(two).entries[0].run.state is State.COMPLETE


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything can be written by this user")
def test_a_directory_that_may_only_be_read_is_listed(two):
    two.chmod(0o555)
    try:
        found = listing(two)
    finally:
        two.chmod(0o755)
    assert len(found.entries) == 2
    assert "ermission" in found.unwritten


def test_an_index_that_cannot_be_written_does_not_stop_a_list(two):
    (two / INDEX).mkdir()
    found = listing(two)
    assert len(found.entries) == 2
    assert found.unwritten
    assert sorted(path.name for path in two.iterdir()) == ["a", "b", INDEX]


def test_what_is_no_directory_of_runs_is_refused(two):
    with pytest.raises(InputError, match="no directory"):
        listing(two / "nowhere")
    with pytest.raises(InputError, match="is a run, not a directory of runs"):
        listing(two / "a")
    (two / "empty").mkdir()
    assert listing(two / "empty").entries == ()
    assert list((two / "empty").iterdir()) == []
