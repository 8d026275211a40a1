"""Windows of a run, and what passes through the system in one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve.results import RequestLog, Run, State

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What of a run is looked at: warm-up and cool-down are left out by saying so.

    Latencies are those of requests *sent* in the window; throughput is of the time of the window.

    Attributes
    ----------
    from_s, to_s : float
        Bounds in simulated time, the second one exclusive. [s]
    skip_first : int
        Leave out the first so many requests that were sent (of those sent at once, the earlier rows); the
        window begins when the next one is sent.

    Raises
    ------
    InputError
        Bounds that leave nothing, a negative number to skip.
    """

    from_s: float = 0.0
    to_s: float = math.inf
    skip_first: int = 0

    def __post_init__(self) -> None:
        if not self.from_s < self.to_s:
            raise InputError(
                f"a window must end after it begins, got from_s={self.from_s!r}, to_s={self.to_s!r}."
            )
        if self.skip_first < 0:
            raise InputError(f"skip_first must be at least 0, got {self.skip_first}.")


WHOLE = Window()


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Rates over a span; see ``DEFINITIONS``.

    Attributes
    ----------
    span_s : float
        Length of the span. [s]
    requests_per_s, input_tokens_per_s, output_tokens_per_s, total_tokens_per_s : float
        0 over a span of no length.
    """

    span_s: float
    requests_per_s: float
    input_tokens_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A window as it came out of a run.

    Attributes
    ----------
    from_s, to_s : float
        Its bounds within what happened. [s]
    before_s : float
        What happens at this time or later is outside; infinite: nothing is. [s]
    """

    from_s: float
    to_s: float
    before_s: float

    @property
    def length_s(self) -> float:
        """Length of the span. [s]"""
        return self.to_s - self.from_s


def sent_in(log: RequestLog, window: Window) -> BoolArray:
    """Whether each request was sent in the window, shape (num_requests,)."""
    arrival = log.arrival_s
    inside: BoolArray = (arrival >= window.from_s) & (arrival < window.to_s)
    if window.skip_first:
        # not sent is nan, and sorts to the end
        last = min(window.skip_first, arrival.size) - 1
        at_s = np.partition(arrival, last)[last]
        before, same = arrival < at_s, np.flatnonzero(arrival == at_s)
        inside &= ~before
        inside[same[: window.skip_first - int(np.count_nonzero(before))]] = False
    return inside


def span_of(run: Run, window: Window, sent: BoolArray) -> Span:
    """The window within what happened.

    Parameters
    ----------
    run, window : Run, Window
        What is looked at.
    sent : BoolArray
        ``sent_in(run.log, window)``.

    Returns
    -------
    Span
        From the first request sent in the window, unless a time after 0 was asked for, to its end or the
        last token (of an interrupted run: its end). A window in which nothing happened has no length.
    """
    from_s = window.from_s
    if window.skip_first or from_s <= 0.0:
        arrival = run.log.arrival_s
        from_s = float(np.fmin.reduce(arrival if sent.all() else arrival[sent], initial=math.inf))
    to_s = min(window.to_s, last_s(run))
    if not from_s < to_s:
        from_s = to_s = min(from_s, run.end_s)
    return Span(from_s=from_s, to_s=to_s, before_s=window.to_s)


def last_s(run: Run) -> float:
    """Last token of a complete run, end of an interrupted one. [s]"""
    last = float(np.fmax.reduce(run.log.finish_s, initial=-math.inf))
    return last if run.complete and math.isfinite(last) else run.end_s


def makespan(run: Run, completed: BoolArray) -> Throughput:
    """Rates as benchmark clients give them: completed requests and all their tokens over all the time.

    The time is from the first request sent to the last completed (to the end of an interrupted run).
    """
    first_s = float(np.fmin.reduce(run.log.arrival_s, initial=math.inf))
    return _rates(
        last_s(run) - first_s if math.isfinite(first_s) else 0.0,
        int(np.count_nonzero(completed)),
        total(run.log.isl_tokens, completed),
        total(run.log.out_tokens, completed),
    )


def throughput(run: Run, span: Span, completed: BoolArray) -> Throughput:
    """Rates over a span.

    Requests count when their last token comes out in it, prompts when the first one does. Output tokens
    of a request are spread evenly from its first to its last. Requests in flight at the end of an
    interrupted run count with what came out; rejected and failed ones do not.
    """
    log = run.log
    flying = (log.state < State.COMPLETED) & (log.out_tokens > 0)
    counted = completed | flying
    first = counted & (log.first_s >= span.from_s) & (log.first_s < span.before_s)
    end_s = np.where(flying, run.end_s, log.finish_s) if flying.any() else log.finish_s
    inside = np.minimum(end_s, span.to_s)
    inside -= np.maximum(log.first_s, span.from_s)
    lasting = end_s - log.first_s
    counted &= inside > 0.0
    share = np.divide(inside, lasting, out=np.zeros_like(inside), where=counted)
    later = float(share @ (log.out_tokens - 1))
    return _rates(
        span.length_s,
        ended(log, completed, span),
        total(log.isl_tokens, first),
        later + int(np.count_nonzero(first)),
    )


def mean_concurrency(run: Run, span: Span) -> float:
    """Time in the system that falls into the span over its length (Little); nan of no length.

    When a failed request was lost is not in the log: its time is not counted; a rejected one takes none.
    """
    if not span.length_s > 0.0:
        return math.nan
    log = run.log
    flying = (log.state > State.NOT_SENT) & (log.state < State.COMPLETED)
    gone_s = np.where(flying, run.end_s, log.finish_s) if flying.any() else log.finish_s
    inside = np.minimum(gone_s, span.to_s)
    inside -= np.maximum(log.arrival_s, span.from_s)
    return float(inside.sum(where=inside > 0.0)) / span.length_s


def ended(log: RequestLog, which: BoolArray, span: Span) -> int:
    """How many of the requests have their last token in the span."""
    return int(np.count_nonzero(which & (log.finish_s >= span.from_s) & (log.finish_s < span.before_s)))


def rate(amount: float, span_s: float) -> float:
    """Amount per second; 0 over no time."""
    return amount / span_s if span_s > 0.0 else 0.0


def total(column: IntArray, which: BoolArray) -> int:
    """Sum over the requests that are meant."""
    return int(column.sum(where=which))


def _rates(span_s: float, requests: int, input_tokens: float, output_tokens: float) -> Throughput:
    return Throughput(
        span_s=span_s,
        requests_per_s=rate(requests, span_s),
        input_tokens_per_s=rate(input_tokens, span_s),
        output_tokens_per_s=rate(output_tokens, span_s),
        total_tokens_per_s=rate(input_tokens + output_tokens, span_s),
    )
