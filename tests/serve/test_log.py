"""Logs as tables and files: nothing is lost on the way, and a killed process leaves what is whole."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from serve_runs import changed, pool, run_of, three
from tokenroof.errors import InputError
from tokenroof.serve.core import Stage
from tokenroof.serve.log import COLUMNS, LogParts, log_frame, read_log, timeline_frame, write_frame
from tokenroof.serve.metrics import measure
from tokenroof.serve.results import Run, State
from tokenroof.workload.core import RequestClass, Slo


def mixed() -> Run:
    """One completed, one rejected, one in flight."""
    classes = (RequestClass(name="chat", slo=Slo(ttft_s=0.5)), RequestClass(name="batch"))
    nan = float("nan")
    return three(
        classes=classes,
        requests={"class_index": np.array([1, 0, 0]), "session": np.array([4, -1, -1])},
        end_s=9.0,
        run={"complete": False},
        log={
            "state": [State.COMPLETED, State.REJECTED, State.DECODING],
            "reason": [0, 1, 0],
            "start_s": [0.0, nan, 4.0],
            "first_s": [1.0, nan, 8.0],
            "finish_s": [5.0, nan, nan],
            "out_tokens": [5, 0, 1],
            "replica": [0, -1, 0],
        },
    )


def frame_of(run: Run) -> pl.DataFrame:
    return log_frame(run.requests, run.log)


def test_a_row_says_what_happened_to_its_request() -> None:
    frame = frame_of(mixed())
    assert tuple(frame.columns) == COLUMNS
    done, refused, flying = frame.to_dicts()
    assert (done["class"], done["state"], done["reason"], done["session"]) == ("batch", "completed", None, 4)
    assert (done["ttft_s"], done["tpot_s"], done["e2e_s"], done["queue_s"]) == (1.0, 1.0, 5.0, 0.0)
    assert (done["good"], refused["good"], flying["good"]) == (True, False, None)
    assert refused["reason"] == "larger than the cache of a replica"
    assert (refused["start_s"], refused["ttft_s"], refused["replica"]) == (None, None, None)
    assert (flying["ttft_s"], flying["tpot_s"], flying["e2e_s"], flying["session"]) == (6.0, None, None, None)


def test_the_table_agrees_with_the_metrics() -> None:
    run = three(classes=(RequestClass(slo=Slo(ttft_s=3.0, tpot_s=2.0)),))
    frame, metrics = frame_of(run), measure(run)
    assert frame["ttft_s"].mean() == metrics.ttft_s.mean
    assert frame["tpot_s"].drop_nulls().len() == metrics.tpot_s.count
    assert frame["good"].mean() == metrics.good_fraction


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_files_hold_the_table(tmp_path: Path, name: str) -> None:
    frame = frame_of(mixed())
    write_frame(frame, tmp_path / name)
    assert_frame_equal(read_log(tmp_path / name), frame, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_narrow_columns_of_a_kernel_give_the_same_table() -> None:
    run = mixed()
    records = np.zeros(3, dtype=[("state", "i4"), ("finish_s", "f8"), ("isl_tokens", "i4")])
    for column in records.dtype.names or ():
        records[column] = getattr(run.log, column)
    narrow = {column: records[column] for column in records.dtype.names or ()}
    assert_frame_equal(frame_of(changed(run, log=narrow)), frame_of(run), check_exact=True)


def many(count: int) -> Run:
    at = np.arange(count, dtype=np.float64)
    return run_of(at, at, at + 0.25, at + 2.0, [10] * count, [5] * count)


def test_parts_are_written_as_requests_end_and_add_up_to_the_log(tmp_path: Path) -> None:
    run, out = many(100), tmp_path / "run" / "log"
    ended = np.argsort(-np.arange(100)).astype(np.int32)  # in another order than they were sent
    parts = LogParts(out, run.requests, least_rows=30)
    assert parts.append(run.log, ended[:20]) == 0
    assert parts.append(run.log, ended[:35]) == 35
    assert parts.append(run.log, ended[:40]) == 0
    assert sorted(read_log(out)["request"].to_list()) == list(range(65, 100))
    assert parts.append(run.log, ended[:70]) == 35
    assert parts.close(run.log) == 30
    assert parts.close(run.log) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"part-0000{k}.parquet" for k in range(3)]
    assert_frame_equal(read_log(out), frame_of(run), check_exact=True)


def test_a_killed_process_leaves_whole_parts(tmp_path: Path) -> None:
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        import numpy as np
        from pathlib import Path
        from serve_runs import run_of
        from tokenroof.serve import log as logs
        at = np.arange(50, dtype=np.float64)
        run = run_of(at, at, at + 0.25, at + 2.0, [10] * 50, [5] * 50)
        parts = logs.LogParts(Path({str(tmp_path / "log")!r}), run.requests, least_rows=10)
        done = np.arange(50)
        parts.append(run.log, done[:20])
        parts.append(run.log, done[:40])
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        parts.append(run.log, done)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -9
    assert read_log(tmp_path / "log")["request"].to_list() == list(range(40))
    assert any(path.suffix == ".tmp" for path in (tmp_path / "log").iterdir())


def test_parts_of_another_run_are_not_mixed(tmp_path: Path) -> None:
    run = many(3)
    LogParts(tmp_path, run.requests).close(run.log)
    with pytest.raises(InputError, match="parts of another run"):
        LogParts(tmp_path, run.requests)
    with pytest.raises(InputError, match="is a file"):
        LogParts(tmp_path / "part-00000.parquet", run.requests)


def test_what_is_no_log_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "log.xlsx").write_text("")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "nothing").mkdir()
    for name, match in (
        ("cut.parquet", "cannot be read"),
        ("other.csv", "it lacks request, class, state"),
        ("empty.csv", "cannot be read"),
        ("log.xlsx", "a .parquet or .csv file"),
        ("other.parquet", "it lacks request, class, state"),
        ("nothing", "holds no part"),
        ("absent", "no such file"),
    ):
        with pytest.raises(InputError, match=match) as refused:
            read_log(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=r"\.parquet or \.csv"):
        write_frame(frame_of(three()), tmp_path / "log.txt")


def test_the_timeline_is_a_row_per_pool_and_bin() -> None:
    run = three(pools=(pool(Stage.PREFILL), pool(Stage.DECODE, num_blocks=50)))
    run.timeline[1, 2] = [0.0, 10.0, 25.0, 50.0]
    run.timeline[1, 6, 0] = 0.0
    frame = timeline_frame(run)
    assert frame.height == 8
    decode = frame.filter(pl.col("pool") == 1)
    assert decode["stage"].to_list() == ["decode"] * 4
    assert decode["used_fraction"].to_list() == [None, 0.2, 0.5, 1.0]
    assert decode["to_s"].to_list() == [2.5, 5.0, 7.5, 10.0]
    prefill = frame.filter(pl.col("pool") == 0)
    assert prefill["prefill_tokens_per_s"].to_list() == pytest.approx([6.0] * 4)
