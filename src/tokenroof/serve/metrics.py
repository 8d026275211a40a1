"""What came of a run in numbers, each with its definition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tokenroof.serve.core import Stage
from tokenroof.serve.pools import PoolUse, pool_uses
from tokenroof.serve.quantiles import NOTHING, Distribution, distribution, gap_distribution
from tokenroof.serve.results import REASONS, RequestLog, Run, State
from tokenroof.serve.spans import (
    WHOLE,
    Span,
    Throughput,
    Window,
    ended,
    makespan,
    mean_concurrency,
    rate,
    sent_in,
    span_of,
    throughput,
    total,
)
from tokenroof.serve.stability import Growth, growth
from tokenroof.workload.core import RequestClass

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

DEFINITIONS: Mapping[str, tuple[str, str]] = {
    "ttft_s": ("s", "sent to first token, waiting included, of completed requests"),
    "tpot_s": (
        "s",
        "(finish - first token) / (output tokens - 1), one number per completed request of 2 tokens or more",
    ),
    "e2e_s": ("s", "sent to last token, of completed requests"),
    "queue_s": ("s", "sent to first taken into a step, of completed requests"),
    "transfer_s": ("s", "end of prefill to arrival of the cache at the decode replica"),
    "itl_s": (
        "s",
        "every gap between tokens of one request, all requests and the whole run pooled; to 1.1 %, the width "
        "of a bin",
    ),
    "requests_per_s": ("1/s", "requests completed in the span over its length"),
    "input_tokens_per_s": ("tokens/s", "prompt tokens of requests, cached ones included, over the span"),
    "output_tokens_per_s": ("tokens/s", "output tokens over the span"),
    "total_tokens_per_s": ("tokens/s", "prompt and output tokens over the span"),
    "goodput_requests_per_s": (
        "1/s",
        "requests per second that complete in the window and meet every limit of their class",
    ),
    "good_fraction": (
        "1",
        "of the requests sent in the window that were completed, rejected or failed: those that were "
        "completed and met every limit of their class",
    ),
    "mean_concurrency": ("requests", "requests in the system, mean over the window (Little)"),
    "prefix_hit_fraction": ("1", "prompt tokens found in a cache over prompt tokens, of requests begun"),
    "recomputed_tokens": ("tokens", "prompt tokens computed again after a preemption or a retry"),
    "busy_fraction": ("1", "time in steps over time up, all replicas of the pool, whole run"),
}
"""Unit and definition by field name. Quantiles: ``quantiles.QUANTILE_RULE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Requests by what became of them, whole run.

    Attributes
    ----------
    requests : int
        All: the sum of the others but ``by_reason``.
    completed, rejected, failed, in_flight, not_sent : int
        ``in_flight`` and ``not_sent`` of an interrupted run.
    by_reason : mapping of str to int
        Rejected and failed ones by why.
    """

    requests: int
    completed: int
    rejected: int
    failed: int
    in_flight: int
    not_sent: int
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """One class of requests in the window.

    Attributes
    ----------
    name : str
        Of the class.
    completed : int
        Requests sent in the window and completed.
    goodput_requests_per_s, good_fraction : float
        See ``DEFINITIONS``.
    ttft_s, tpot_s, e2e_s : Distribution
        Latencies. [s]
    """

    name: str
    completed: int
    goodput_requests_per_s: float
    good_fraction: float
    ttft_s: Distribution
    tpot_s: Distribution
    e2e_s: Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Everything that is said of a run; ``DEFINITIONS`` says what each is.

    Attributes
    ----------
    from_s, to_s : float
        The window as it came out: never before the first request nor after the end. [s]
    counts : Counts
        Whole run.
    ttft_s, tpot_s, e2e_s, queue_s, transfer_s, itl_s : Distribution
        Latencies of requests sent in the window; ``itl_s`` of the whole run. [s]
    makespan : Throughput
        As benchmark clients count: completed requests and all their tokens, from the first sent to the
        last completed (to the end of an interrupted run).
    window : Throughput
        Over the window. A request's output tokens are spread evenly from its first to its last, its
        prompt counts when its first token is out; requests in flight count with the tokens they have.
    goodput_requests_per_s, good_fraction : float
        All classes.
    classes : tuple of ClassMetrics
        In the order of ``Requests.classes``.
    mean_concurrency, prefix_hit_fraction : float
        In the window. [requests], [1]
    preemptions, preempted_requests, retries, recomputed_tokens : int
        Of requests sent in the window.
    pools : tuple of PoolUse
        How the pools were used.
    growth : Growth
        Whether the rate was above saturation.
    """

    from_s: float
    to_s: float
    counts: Counts
    ttft_s: Distribution
    tpot_s: Distribution
    e2e_s: Distribution
    queue_s: Distribution
    transfer_s: Distribution
    itl_s: Distribution
    makespan: Throughput
    window: Throughput
    goodput_requests_per_s: float
    good_fraction: float
    classes: tuple[ClassMetrics, ...]
    mean_concurrency: float
    prefix_hit_fraction: float
    preemptions: int
    preempted_requests: int
    retries: int
    recomputed_tokens: int
    pools: tuple[PoolUse, ...]
    growth: Growth


def measure(run: Run, window: Window = WHOLE) -> Metrics:
    """All metrics of a run.

    Parameters
    ----------
    run : Run
        Complete or interrupted.
    window : Window
        What of it is looked at.

    Returns
    -------
    Metrics
        A metric of no requests is nan.

    Notes
    -----
    Times are taken one kind at a time into a buffer that is partitioned in place: 1,000,000 requests of a
    log whose columns lie side by side take some 0.15 s and 64 bytes each beside it.
    """
    run = _compact(run)
    log = run.log
    scratch = np.empty(len(log))
    completed = log.state == State.COMPLETED
    sent = sent_in(log, window)
    span = span_of(run, window, sent)
    chosen = completed & sent
    good = good_requests(log, run.requests.classes, completed, scratch)
    classes = tuple(
        _of_class(run, index, kind, sent, chosen, good, span, scratch)
        for index, kind in enumerate(run.requests.classes)
    )
    if len(classes) == 1:
        ttft, tpot, e2e = classes[0].ttft_s, classes[0].tpot_s, classes[0].e2e_s
    else:
        ttft, tpot, e2e = _latencies(log, chosen, scratch)
    begun = sent & ~np.isnan(log.start_s)
    prompt_tokens = total(log.isl_tokens, begun)
    recomputed = log.prefilled_tokens + log.cached_tokens - log.isl_tokens
    transfers = any(pool.stage == Stage.DECODE for pool in run.setup.pools)
    return Metrics(
        from_s=span.from_s,
        to_s=span.to_s,
        counts=counts(log),
        ttft_s=ttft,
        tpot_s=tpot,
        e2e_s=e2e,
        queue_s=distribution(_taken(log.arrival_s, log.start_s, chosen, scratch)),
        transfer_s=distribution(log.transfer_s[chosen & ~np.isnan(log.transfer_s)]) if transfers else NOTHING,
        itl_s=gap_distribution(run.itl_counts),
        makespan=makespan(run, completed),
        window=throughput(run, span, completed),
        goodput_requests_per_s=sum(kind.goodput_requests_per_s for kind in classes),
        good_fraction=_good_fraction(log, sent, good),
        classes=classes,
        mean_concurrency=mean_concurrency(run, span),
        prefix_hit_fraction=(
            total(log.cached_tokens, begun) / prompt_tokens if prompt_tokens > 0 else math.nan
        ),
        preemptions=total(log.preemptions, sent),
        preempted_requests=int(np.count_nonzero(sent & (log.preemptions > 0))),
        retries=total(log.retries, sent),
        recomputed_tokens=total(recomputed, sent & (recomputed > 0)),
        pools=pool_uses(run, span.from_s, span.to_s),
        growth=growth(run),
    )


def _compact(run: Run) -> Run:
    """The run with its often read columns in arrays of their own; those of a kernel's log are far apart."""
    often = ("arrival_s", "start_s", "first_s", "finish_s", "out_tokens", "state")
    columns = {name: np.ascontiguousarray(getattr(run.log, name)) for name in often}
    return replace(run, log=replace(run.log, **columns))


def counts(log: RequestLog) -> Counts:
    """Requests by what became of them."""
    number = np.bincount(log.state, minlength=len(State))
    refused = log.reason[log.state > State.COMPLETED]
    reasons = np.bincount(refused, minlength=len(REASONS))
    return Counts(
        requests=len(log),
        completed=int(number[State.COMPLETED]),
        rejected=int(number[State.REJECTED]),
        failed=int(number[State.FAILED]),
        in_flight=int(number[State.WAITING : State.COMPLETED].sum()),
        not_sent=int(number[State.NOT_SENT]),
        by_reason={REASONS[index]: int(reasons[index]) for index in np.flatnonzero(reasons)},
    )


def good_requests(
    log: RequestLog,
    classes: Sequence[RequestClass],
    completed: BoolArray,
    scratch: FloatArray | None = None,
) -> BoolArray:
    """Whether each request was completed and met every limit of its class, shape (num_requests,).

    A request of one token meets any limit on the time per token. ``scratch``, if given, is a buffer of that
    shape that is written over.
    """
    slos = [kind.slo for kind in classes]
    taken_s = np.empty(len(log)) if scratch is None else scratch
    good = completed.copy()
    for limits, begin, end in (
        ([slo.ttft_s for slo in slos], log.arrival_s, log.first_s),
        ([slo.tpot_s for slo in slos], log.first_s, log.finish_s),
        ([slo.e2e_s for slo in slos], log.arrival_s, log.finish_s),
    ):
        if all(limit is None for limit in limits):
            continue
        by_class = np.array([math.inf if limit is None else limit for limit in limits])
        np.subtract(end, begin, out=taken_s)
        if begin is log.first_s:
            # one token takes no time after the first: any limit is met
            np.divide(taken_s, np.maximum(log.out_tokens - 1, 1), out=taken_s)
        good &= taken_s <= (by_class[log.class_index] if by_class.size > 1 else by_class)
    return good


def _of_class(
    run: Run,
    index: int,
    kind: RequestClass,
    sent: BoolArray,
    chosen: BoolArray,
    good: BoolArray,
    span: Span,
    scratch: FloatArray,
) -> ClassMetrics:
    if len(run.requests.classes) > 1:
        mine = run.log.class_index == index
        sent, chosen, good = sent & mine, chosen & mine, good & mine
    ttft, tpot, e2e = _latencies(run.log, chosen, scratch)
    return ClassMetrics(
        name=kind.name,
        completed=ttft.count,
        goodput_requests_per_s=rate(ended(run.log, good, span), span.length_s),
        good_fraction=_good_fraction(run.log, sent, good),
        ttft_s=ttft,
        tpot_s=tpot,
        e2e_s=e2e,
    )


def _latencies(
    log: RequestLog, chosen: BoolArray, scratch: FloatArray
) -> tuple[Distribution, Distribution, Distribution]:
    """TTFT, TPOT and E2E of the chosen requests."""
    ttft = distribution(_taken(log.arrival_s, log.first_s, chosen, scratch))
    e2e = distribution(_taken(log.arrival_s, log.finish_s, chosen, scratch))
    several = chosen & (log.out_tokens > 1)
    per_token = _taken(log.first_s, log.finish_s, several, scratch)
    per_token /= (log.out_tokens if several.all() else log.out_tokens[several]) - 1
    return ttft, distribution(per_token), e2e


def _taken(begin: FloatArray, end: FloatArray, chosen: BoolArray, scratch: FloatArray) -> FloatArray:
    """Time between, of the chosen requests: in ``scratch`` when these are all."""
    taken_s: FloatArray = np.subtract(end, begin, out=scratch)
    return taken_s if chosen.all() else taken_s[chosen]


def _good_fraction(log: RequestLog, sent: BoolArray, good: BoolArray) -> float:
    dealt = int(np.count_nonzero(sent & (log.state >= State.COMPLETED)))
    return int(np.count_nonzero(sent & good)) / dealt if dealt else math.nan
