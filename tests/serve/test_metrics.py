"""Metrics of runs that can be computed by hand, and against numpy's own quantiles."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serve_runs import changed, pool, run_of, three
from tokenroof.errors import InputError
from tokenroof.serve.core import Stage
from tokenroof.serve.metrics import DEFINITIONS, ClassMetrics, Metrics, measure
from tokenroof.serve.quantiles import NOTHING, distribution, gap_distribution
from tokenroof.serve.results import ITL_LEAST_S, State
from tokenroof.serve.spans import Throughput, Window
from tokenroof.workload.core import RequestClass, Slo


def test_latencies_are_their_definitions() -> None:
    got = measure(three())
    # ttft 1, 3, 8; e2e 5, 8, 8; queue 0, 1, 2; tpot (5-1)/4, (9-4)/2 and none for one token
    assert (got.ttft_s.count, got.ttft_s.mean, got.ttft_s.p50, got.ttft_s.max) == (3, 4.0, 3.0, 8.0)
    assert (got.e2e_s.mean, got.e2e_s.p50) == (7.0, 8.0)
    assert (got.queue_s.mean, got.queue_s.max) == (1.0, 2.0)
    assert (got.tpot_s.count, got.tpot_s.mean, got.tpot_s.p50, got.tpot_s.max) == (2, 1.75, 1.75, 2.5)
    assert got.ttft_s.p90 == pytest.approx(3.0 + 0.8 * 5.0)
    assert got.transfer_s == NOTHING


def test_throughput_of_the_whole_run_is_all_tokens_over_all_time() -> None:
    got = measure(three())
    assert got.makespan == Throughput(
        span_s=10.0,
        requests_per_s=0.3,
        input_tokens_per_s=6.0,
        output_tokens_per_s=0.9,
        total_tokens_per_s=6.9,
    )
    assert got.window == got.makespan
    assert got.mean_concurrency == pytest.approx((5 + 8 + 8) / 10)


def test_time_before_the_first_request_does_not_count() -> None:
    late = run_of([100.0], [100.0], [101.0], [104.0], [10], [4])
    got = measure(late)
    assert (got.makespan.span_s, got.from_s, got.to_s) == (4.0, 100.0, 104.0)
    assert got.mean_concurrency == pytest.approx(1.0)


def test_a_window_takes_latencies_of_what_is_sent_in_it_and_tokens_of_its_time() -> None:
    got = measure(three(), Window(from_s=1.0, to_s=6.0))
    assert (got.ttft_s.count, got.ttft_s.mean) == (2, 5.5)
    # first: 1 token at 1 s and 4 until 5 s; second: 1 token at 4 s and 2 tokens in 4..9 s of which 2 of 5 s
    assert got.window.output_tokens_per_s == pytest.approx((1 + 4 + 1 + 2 * 2 / 5) / 5)
    assert got.window.input_tokens_per_s == pytest.approx((10 + 20) / 5)
    assert got.window.requests_per_s == pytest.approx(1 / 5)
    assert got.mean_concurrency == pytest.approx((4 + 5 + 4) / 5)
    assert got.makespan.requests_per_s == 0.3


def test_adjacent_windows_add_up() -> None:
    run = three()
    parts = [measure(run, Window(to_s=4.0)).window, measure(run, Window(from_s=4.0)).window]
    whole = measure(run).window
    for name in ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s"):
        amount = sum(getattr(part, name) * part.span_s for part in parts)
        assert amount == pytest.approx(getattr(whole, name) * whole.span_s)


def test_skipping_leaves_out_just_so_many_even_when_sent_at_once() -> None:
    run = run_of([0.0] * 3 + [1.0], [0.0] * 3 + [1.0], [1.0, 2.0, 3.0, 5.0], [9.0] * 4, [1] * 4, [2] * 4)
    assert measure(run, Window(skip_first=2)).ttft_s.mean == pytest.approx((3.0 + 4.0) / 2)
    got = measure(run, Window(skip_first=3))
    assert (got.ttft_s.count, got.ttft_s.max, got.from_s) == (1, 4.0, 1.0)
    assert measure(run, Window(skip_first=10)).ttft_s == NOTHING


def test_a_window_in_which_nothing_happens_has_no_rates() -> None:
    got = measure(three(), Window(from_s=50.0))
    assert got.window == Throughput(
        span_s=0.0,
        requests_per_s=0.0,
        input_tokens_per_s=0.0,
        output_tokens_per_s=0.0,
        total_tokens_per_s=0.0,
    )
    assert math.isnan(got.good_fraction)
    assert math.isnan(got.mean_concurrency)
    assert math.isnan(got.pools[0].running_seqs)


@pytest.mark.parametrize("bad", [{"from_s": 2.0, "to_s": 2.0}, {"from_s": math.nan}, {"skip_first": -1}])
def test_a_window_of_nothing_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Window(**bad)  # type: ignore[arg-type]


def test_goodput_asks_every_limit_of_the_request_s_own_class() -> None:
    classes = (
        RequestClass(name="chat", slo=Slo(ttft_s=2.0, tpot_s=1.0)),
        RequestClass(name="batch", slo=Slo(e2e_s=8.0)),
    )
    got = measure(three(classes=classes, requests={"class_index": np.array([0, 0, 1])}))
    chat, batch = got.classes
    assert (chat.name, chat.completed, chat.good_fraction) == ("chat", 2, 0.5)
    assert chat.goodput_requests_per_s == pytest.approx(0.1)
    assert (batch.good_fraction, batch.goodput_requests_per_s) == (1.0, pytest.approx(0.1))
    assert got.goodput_requests_per_s == pytest.approx(0.2)
    assert got.good_fraction == pytest.approx(2 / 3)
    assert chat.ttft_s.mean == 2.0
    assert batch.tpot_s == NOTHING
    assert got.ttft_s.mean == 4.0


def test_one_token_meets_any_limit_on_the_time_per_token() -> None:
    got = measure(three(classes=(RequestClass(slo=Slo(tpot_s=1e-9)),)))
    assert got.good_fraction == pytest.approx(1 / 3)


def test_what_was_refused_or_lost_is_counted_by_reason_and_not_good() -> None:
    nan = math.nan
    run = changed(
        three(),
        log={
            "state": [State.COMPLETED, State.REJECTED, State.FAILED],
            "reason": [0, 1, 3],
            "start_s": [0.0, nan, 4.0],
            "first_s": [1.0, nan, nan],
            "finish_s": [5.0, nan, nan],
            "out_tokens": [5, 0, 0],
        },
    )
    got = measure(run)
    assert (got.counts.completed, got.counts.rejected, got.counts.failed) == (1, 1, 1)
    assert got.counts.by_reason == {
        "larger than the cache of a replica": 1,
        "lost with its replica more often than it may be retried": 1,
    }
    assert got.good_fraction == pytest.approx(1 / 3)
    assert got.ttft_s.count == 1
    assert got.makespan.span_s == 5.0
    assert got.mean_concurrency == pytest.approx(1.0)


def test_an_interrupted_run_counts_what_is_out() -> None:
    nan = math.nan
    run = changed(
        three(),
        log={
            "state": [State.COMPLETED, State.DECODING, State.NOT_SENT],
            "arrival_s": [0.0, 1.0, nan],
            "start_s": [0.0, 2.0, nan],
            "first_s": [1.0, 4.0, nan],
            "finish_s": [5.0, nan, nan],
            "out_tokens": [5, 2, 0],
        },
        end_s=6.0,
        complete=False,
    )
    got = measure(run)
    assert (got.counts.in_flight, got.counts.not_sent, got.counts.requests) == (1, 1, 3)
    assert got.makespan.output_tokens_per_s == pytest.approx(5 / 6)
    assert got.window.output_tokens_per_s == pytest.approx(7 / 6)
    assert got.good_fraction == 1.0
    assert got.mean_concurrency == pytest.approx((5 + 5) / 6)


def test_caches_preemptions_and_recomputation_are_summed() -> None:
    run = changed(
        three(),
        log={"cached_tokens": [0, 5, 10], "prefilled_tokens": [14, 15, 25], "preemptions": [2, 0, 1]},
    )
    got = measure(run)
    assert got.prefix_hit_fraction == pytest.approx(15 / 60)
    assert (got.preemptions, got.preempted_requests, got.recomputed_tokens) == (3, 2, 4 + 5)


def test_pools_are_used_as_their_replicas_and_timeline_say() -> None:
    run = three(pools=(pool(Stage.PREFILL), pool(Stage.DECODE)))
    run.timeline[1, 0] = [1.0, 3.0, 5.0, 7.0]
    prefill, decode = measure(run).pools
    assert prefill.prefill_tokens_per_s == pytest.approx(6.0)
    assert decode.decode_tokens_per_s == pytest.approx(6 / 10)
    assert decode.running_seqs == pytest.approx(4.0)
    assert (decode.busy_fraction, decode.window_busy_fraction, decode.peak_fraction) == (0.5, 0.5, 0.1)
    # 2.5 s bins: half of the second one and the whole third
    part = measure(run, Window(from_s=3.75, to_s=7.5)).pools[1]
    assert part.running_seqs == pytest.approx((0.5 * 3.0 + 5.0) / 1.5)


def test_hand_offs_have_a_distribution() -> None:
    apart = (pool(Stage.PREFILL), pool(Stage.DECODE))
    got = measure(three(pools=apart, log={"transfer_s": [0.5, math.nan, 0.7]}))
    assert (got.transfer_s.count, got.transfer_s.mean) == (2, pytest.approx(0.6))


@given(
    arrays.arrays(
        np.float64, st.integers(1, 300), elements=st.floats(0.0, 1e6, allow_nan=False, allow_subnormal=False)
    )
)
def test_quantiles_are_numpy_s(values: np.ndarray) -> None:
    got = distribution(values.copy())
    asked = np.quantile(values, [0.5, 0.9, 0.95, 0.99])
    assert [got.p50, got.p90, got.p95, got.p99] == pytest.approx(list(asked), rel=1e-12)
    assert got.max == values.max()
    assert got.mean == pytest.approx(values.mean(), rel=1e-12)
    assert got.count == values.size


@given(st.lists(st.floats(2e-6, 10.0), min_size=1, max_size=400))
def test_binned_gaps_have_the_quantiles_of_the_gaps_to_the_width_of_a_bin(gaps: list[float]) -> None:
    values = np.sort(np.array(gaps))
    bins = (np.log2(values / ITL_LEAST_S) * 64).astype(int)
    got = gap_distribution(np.bincount(bins, minlength=2048).astype(np.float64))
    assert got.mean == pytest.approx(values.mean(), rel=0.0055)
    assert got.max == pytest.approx(values.max(), rel=0.0110)
    for share, quantile in ((0.5, got.p50), (0.9, got.p90), (0.95, got.p95), (0.99, got.p99)):
        position = share * (values.size - 1)
        low, high = values[int(position)], values[min(int(position) + 1, values.size - 1)]
        assert low / 1.011 <= quantile <= high * 1.011


def test_gaps_of_all_pools_are_pooled() -> None:
    counts = np.zeros((2, 2048))
    counts[0, 640] = counts[1, 640] = 5.0  # 640 / 64 octaves above 1 us: 1.024 ms
    got = gap_distribution(counts)
    assert got.count == 10
    assert 1.024e-3 <= got.p50 <= 1.036e-3
    assert gap_distribution(np.zeros((1, 2048))) == NOTHING


def test_every_metric_has_a_definition() -> None:
    not_numbers = {"from_s", "to_s", "counts", "classes", "pools", "growth", "makespan", "window", "name"}
    plain = {"preemptions", "preempted_requests", "retries", "completed", "span_s"}
    named = {field.name for kind in (Metrics, Throughput, ClassMetrics) for field in fields(kind)}
    assert named - not_numbers - plain == set(DEFINITIONS) - {"busy_fraction"}
