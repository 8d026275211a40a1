"""What is computed from runs of the kernel: metrics, logs in parts and traces agree with one another."""

import gzip
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from polars.testing import assert_frame_equal

from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Parallel
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.report.perfetto import write_trace
from tokenroof.serve import run as kernel
from tokenroof.serve.core import PoolSetup, Setup
from tokenroof.serve.invariants import check, digest
from tokenroof.serve.log import LogParts, log_frame, read_log
from tokenroof.serve.metrics import measure
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.results import Run
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.run import Progress, simulate
from tokenroof.serve.spans import Window
from tokenroof.workload.core import Requests


@lru_cache
def table() -> StepTable:
    catalog = load()
    model = catalog.model("llama-3.1-8b")
    machine = build_machine(catalog.chip("h100"), catalog.engine("vllm"))
    return compile_table(model, model.precision, Parallel(), machine, dense_tokens=2048)


def setup(replicas: int = 1, num_blocks: int = 20_000) -> Setup:
    rule = Vllm(max_num_seqs=64, max_num_batched_tokens=2048)
    pool = PoolSetup(table=table(), scheduler=rule, replicas=replicas, num_blocks=num_blocks)
    return Setup(pools=(pool,), router=LeastLoaded(), record_segments=50_000)


def requests(rate_per_s: float, count: int, concurrency: int | None = None) -> Requests:
    rng = np.random.default_rng(7)
    sent = np.zeros(count) if concurrency else np.cumsum(rng.exponential(1.0 / rate_per_s, count))
    lengths = {"isl_tokens": rng.integers(50, 1500, count), "osl_tokens": rng.integers(1, 200, count)}
    none, zero = np.full(count, -1), np.zeros(count, dtype=np.int64)
    return Requests(
        arrival_s=sent, **lengths, follows=none, session=none, class_index=zero, concurrency=concurrency
    )


@lru_cache
def served(rate_per_s: float, count: int = 400, replicas: int = 1, num_blocks: int = 20_000) -> Run:
    return simulate(setup(replicas, num_blocks), requests(rate_per_s, count))


CASES = [(10.0, 400, 1, 20_000), (40.0, 400, 3, 20_000), (60.0, 400, 1, 300)]


@pytest.mark.parametrize("case", CASES)
def test_every_invariant_holds_and_the_same_seed_gives_the_same_bytes(
    case: tuple[float, int, int, int],
) -> None:
    run = served(*case)
    assert check(run) == ()
    assert digest(run) == digest(simulate(run.setup, run.requests))


@pytest.mark.parametrize("case", CASES)
def test_requests_in_the_system_are_those_that_run_or_wait(case: tuple[float, int, int, int]) -> None:
    """Little's law by two ways: times of requests, and the timeline of the replicas."""
    run = served(*case)
    for window in (Window(), Window(from_s=0.3 * run.end_s, to_s=0.7 * run.end_s)):
        got = measure(run, window)
        (use,) = got.pools
        # a window's bounds may lie inside bins of the timeline
        share = 1e-9 if window == Window() else 0.02
        assert use.running_seqs + use.waiting_seqs == pytest.approx(got.mean_concurrency, rel=share)
        made = got.window.output_tokens_per_s - got.window.requests_per_s
        if window == Window():
            assert use.decode_tokens_per_s == pytest.approx(made, rel=0.01 if got.preemptions else 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_gaps_between_tokens_add_up_to_the_time_between_first_and_last(
    case: tuple[float, int, int, int],
) -> None:
    run = served(*case)
    got = measure(run)
    whole_s = float(np.sum(run.log.finish_s - run.log.first_s))
    assert got.itl_s.mean * got.itl_s.count == pytest.approx(whole_s, rel=0.006)


def test_rates_above_and_below_saturation_are_told_apart() -> None:
    most = measure(served(500.0, 2000)).makespan.requests_per_s
    assert not measure(served(0.7 * most, 2000)).growth.unstable
    got = measure(served(1.5 * most, 2000)).growth
    assert got.unstable
    assert got.requests_per_s_of_growth == pytest.approx(0.5 * most, rel=0.25)


def test_a_closed_loop_has_its_concurrency() -> None:
    run = simulate(setup(), requests(0.0, 300, concurrency=16))
    assert check(run) == ()
    middle = measure(run, Window(from_s=0.2 * run.end_s, to_s=0.8 * run.end_s))
    assert middle.mean_concurrency == pytest.approx(16.0)


def test_parts_are_written_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "SLICE", 100)
    asked = requests(10.0, 400)
    parts = LogParts(tmp_path, asked, least_rows=100)
    wrote = []

    def watch(progress: Progress) -> None:
        wrote.append(parts.append(progress.log, progress.done))

    run = simulate(setup(), asked, progress=watch)
    assert sum(wrote) + parts.close(run.log) == 400
    assert len(list(tmp_path.iterdir())) >= 4
    assert_frame_equal(read_log(tmp_path), log_frame(asked, run.log), check_exact=True)


def test_an_interrupted_run_is_whole_as_far_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "SLICE", 300)

    def stop(progress: Progress) -> None:
        if progress.ended > 100:
            raise KeyboardInterrupt

    run = simulate(setup(), requests(10.0, 400), progress=stop)
    assert not run.complete
    assert check(run) == ()
    got = measure(run)
    assert 100 < got.counts.completed < 400
    assert got.counts.in_flight + got.counts.not_sent + got.counts.completed == 400
    assert write_trace(run, tmp_path / "trace.json").requests < 400


def test_a_trace_has_all_the_work(tmp_path: Path) -> None:
    run = served(10.0)
    written = write_trace(run, tmp_path / "trace.json.gz")
    events = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    steps = [event for event in events if event["ph"] == "X"]
    assert (len(steps), written.note) == (run.segments.size, "")
    busy_s = float(run.replicas["busy_s"].sum())
    assert sum(event["dur"] for event in steps) * 1e-6 == pytest.approx(busy_s, rel=1e-6)
    prompts = sum(event["args"]["prompt tokens"] for event in steps)
    assert prompts == run.log.prefilled_tokens.sum()
    assert sum(event["ph"] == "b" and event["name"].startswith("request") for event in events) == 400
