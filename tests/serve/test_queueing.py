"""A server of one sequence at a time is a queue that has been solved: M/D/1, M/G/1, with priorities."""

import heapq
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Batch, Parallel, causal_pairs
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.serve.core import PoolSetup, Setup
from tokenroof.serve.invariants import check
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.results import Run
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.run import simulate
from tokenroof.workload.core import NOBODY, RequestClass, Requests

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COUNT = 40_000
SEEDS = 16
SKIPPED = 2_000
"""Requests of every seed until the queue has forgotten that it began empty."""

FIXED = np.array([[200, 8]])
MIXED = np.array([[16, 1], [64, 3], [200, 8], [500, 2], [900, 40], [1500, 120]])
"""Prompt and answer of each kind of request; all kinds are equally likely. [tokens]"""


@lru_cache
def table() -> StepTable:
    catalog = load()
    model = catalog.model("llama-3.1-8b")
    machine = build_machine(catalog.chip("h100"), catalog.engine("vllm"))
    return compile_table(model, model.precision, Parallel(), machine, dense_tokens=2048)


@lru_cache
def alone_s(isl_tokens: int, osl_tokens: int) -> float:
    """Service time of one request, from the step table: its prompt in one step, then step by step. [s]"""
    pairs = int(causal_pairs(isl_tokens))
    prompt = Batch(prefill_seqs=1, prefill_tokens=isl_tokens, prefill_pairs=pairs, prefill_logits=1)
    return float(table().step_s(prompt)) + table().decode_sum_steps_s(1, isl_tokens, osl_tokens - 1)


def services(kinds: IntArray) -> FloatArray:
    return np.array([alone_s(int(isl), int(osl)) for isl, osl in kinds])


def drawn(rng: np.random.Generator, kinds: IntArray, rate_per_s: float, count: int) -> Requests:
    which = rng.integers(len(kinds), size=count)
    none = np.full(count, NOBODY)
    return Requests(
        arrival_s=np.cumsum(rng.exponential(1.0 / rate_per_s, count)),
        isl_tokens=kinds[which, 0],
        osl_tokens=kinds[which, 1],
        follows=none,
        session=none,
        class_index=which,
        classes=tuple(RequestClass(name=str(kind)) for kind in range(len(kinds))),
    )


def serve(requests: Requests, replicas: int = 1) -> Run:
    rule = Vllm(max_num_seqs=1, max_num_batched_tokens=2048)
    pool = PoolSetup(table=table(), scheduler=rule, replicas=replicas, num_blocks=1000)
    run = simulate(Setup(pools=(pool,), router=RoundRobin()), requests)
    assert check(run) == ()
    return run


def lindley(arrival_s: FloatArray, service_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """When each request of a first-come-first-served queue begins and ends. [s]"""
    start_s, finish_s, free_s = np.empty(arrival_s.size), np.empty(arrival_s.size), 0.0
    for row, (sent_s, takes_s) in enumerate(zip(arrival_s.tolist(), service_s.tolist(), strict=True)):
        start_s[row] = max(sent_s, free_s)
        free_s = finish_s[row] = start_s[row] + takes_s
    return start_s, finish_s


def assert_mean_is_one(ratios: list[float], most_error: float) -> None:
    """Waits over expected waits, one of each seed, are 1 on average within three standard errors.

    The standard error itself is at most ``most_error``, or the test would say little.
    """
    error = float(np.std(ratios, ddof=1) / np.sqrt(len(ratios)))
    assert error < most_error
    mean = float(np.mean(ratios))
    assert abs(mean - 1.0) < 3.0 * error, f"{mean!r} of the expected wait, standard error {error!r}"


def assert_same_times(found_s: FloatArray, expected_s: FloatArray) -> None:
    """Equal to a part 1e-9."""
    assert np.max(np.abs(found_s - expected_s) / expected_s) < 1e-9


ERRORS = {0.3: 0.006, 0.6: 0.008, 0.9: 0.03}
"""By utilisation: what the standard error of the mean wait may be of it."""


@pytest.mark.parametrize("utilisation", ERRORS)
@pytest.mark.parametrize("kinds", [FIXED, MIXED], ids=["M/D/1", "M/G/1"])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(kinds: IntArray, utilisation: float) -> None:
    """W = rate E[S^2] / (2 (1 - rate E[S])): 640,000 requests; each of sixteen seeds is one sample of W.

    Moments of the service time are those that were drawn: a sample with a higher load than was meant is
    compared with the wait at that load.
    """
    service_s = services(kinds)
    rate_per_s = utilisation / service_s.mean()
    ratios = []
    for seed in range(SEEDS):
        requests = drawn(np.random.default_rng([seed, len(kinds)]), kinds, rate_per_s, COUNT)
        log = serve(requests).log
        took_s = service_s[requests.class_index]
        expected_s = rate_per_s * np.mean(took_s**2) / (2.0 * (1.0 - rate_per_s * took_s.mean()))
        ratios.append(float((log.start_s - log.arrival_s)[SKIPPED:].mean()) / expected_s)
    assert_mean_is_one(ratios, ERRORS[utilisation])


@pytest.mark.parametrize("utilisation", [0.6, 0.95, 1.2])
def test_every_wait_is_that_of_lindley(utilisation: float) -> None:
    """Request by request, with service times from the step table alone; above saturation too."""
    service_s = services(MIXED)
    requests = drawn(np.random.default_rng(3), MIXED, utilisation / service_s.mean(), COUNT)
    log = serve(requests).log
    start_s, finish_s = lindley(requests.arrival_s, service_s[requests.class_index])
    assert_same_times(log.start_s, start_s)
    assert_same_times(log.finish_s, finish_s)


def test_round_robin_gives_every_replica_every_fourth_request() -> None:
    """Four queues E4/G/1, each by Lindley's recursion on its own arrivals."""
    replicas, service_s = 4, services(MIXED)
    requests = drawn(np.random.default_rng(4), MIXED, 0.9 * replicas / service_s.mean(), COUNT)
    log = serve(requests, replicas).log
    assert np.array_equal(log.replica, np.arange(COUNT) % replicas)
    for replica in range(replicas):
        mine = slice(replica, None, replicas)
        start_s, finish_s = lindley(requests.arrival_s[mine], service_s[requests.class_index[mine]])
        assert_same_times(log.start_s[mine], start_s)
        assert_same_times(log.finish_s[mine], finish_s)


def test_regular_arrivals_wait_less() -> None:
    """E4/D/1 at 0.9: four Poisson arrivals to a turn. The mean wait is below a third of M/D/1's."""
    (took_s,) = services(FIXED)
    rng = np.random.default_rng(5)
    waits = []
    for replicas in (1, 4):
        log = serve(drawn(rng, FIXED, 0.9 * replicas / took_s, 200_000), replicas).log
        waits.append(float((log.start_s - log.arrival_s).mean()))
    assert waits[1] < waits[0] / 3.0


LEVELS = np.array([0, 1, 1, 3, 3, 7])
"""Priority of each of ``MIXED``."""


def with_priorities(seed: int) -> Requests:
    """At a utilisation of 0.8."""
    rng = np.random.default_rng([seed, 77])
    classes = tuple(RequestClass(name=str(row), priority=int(level)) for row, level in enumerate(LEVELS))
    return replace(drawn(rng, MIXED, 0.8 / services(MIXED).mean(), COUNT), classes=classes)


def test_every_wait_with_priorities_is_that_of_a_heap() -> None:
    """Whenever the server is free it takes the first of the most urgent; nobody is sent back."""
    requests = with_priorities(0)
    log = serve(requests).log
    levels, takes_s = LEVELS[requests.class_index].tolist(), services(MIXED)[requests.class_index].tolist()
    line: list[tuple[int, int]] = []
    start_s, now_s, sent = np.empty(COUNT), 0.0, 0
    arrival_s = requests.arrival_s.tolist()
    for _ in range(COUNT):
        if not line:
            now_s = max(now_s, arrival_s[sent])
        while sent < COUNT and arrival_s[sent] <= now_s:
            heapq.heappush(line, (levels[sent], sent))
            sent += 1
        _, row = heapq.heappop(line)
        start_s[row] = now_s
        now_s += takes_s[row]
    assert_same_times(log.start_s, start_s)


def test_priorities_wait_as_cobham_says() -> None:
    """W of a level = W0 / ((1 - load of those before) (1 - load with it)); W0 = rate E[S^2] / 2.

    Source: A. Cobham, "Priority assignment in waiting line problems", 1954.
    """
    service_s = services(MIXED)
    ratios: dict[int, list[float]] = {}
    for seed in range(SEEDS):
        log = serve(with_priorities(seed)).log
        wait_s, level = (log.start_s - log.arrival_s)[SKIPPED:], LEVELS[log.class_index]
        took_s = service_s[log.class_index]
        rate_per_s = 0.8 / service_s.mean()
        residual_s = rate_per_s * np.mean(took_s**2) / 2.0
        for each in np.unique(LEVELS).tolist():
            before, up_to = (
                rate_per_s * took_s[mine].sum() / COUNT for mine in (level < each, level <= each)
            )
            expected_s = residual_s / ((1.0 - before) * (1.0 - up_to))
            ratios.setdefault(each, []).append(float(wait_s[level[SKIPPED:] == each].mean()) / expected_s)
    for each, found in ratios.items():
        assert_mean_is_one(found, 0.025 if each == 7 else 0.006)
