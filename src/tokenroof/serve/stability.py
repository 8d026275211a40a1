"""Whether the requests in the system grow without end: a rate above what can be served."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.serve.results import RequestLog, Run, State
from tokenroof.workload.core import NOBODY

FloatArray = npt.NDArray[np.float64]

_STRETCHES = 32
_LEAST_ARRIVALS = 100
_LEAST_SCORE = 3.0
_LEAST_SHARE = 0.01
_LEAST_SHARE_WAITING = 0.1
_LEAST_LATE_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How the requests in the system (sent and not gone) change while requests are sent.

    Attributes
    ----------
    unstable : bool
        Whether more is sent than is served, so that waiting grows for as long as this goes on.
    judged : bool
        Whether that could be told at all.
    requests_per_s_of_growth : float
        Slope of a line through the requests in the system; nan when there was nothing to fit. [1/s]
    arrivals_per_s : float
        Rate at which requests are sent over the same time. [1/s]
    score : float
        Growth over its own fluctuation, in standard errors; nan like the slope.
    in_system_at_last_arrival : int
        Requests that are sent and not gone when the last one is sent.
    reason : str
        One line: why so.
    """

    unstable: bool
    judged: bool
    requests_per_s_of_growth: float
    arrivals_per_s: float
    score: float
    in_system_at_last_arrival: int
    reason: str


def growth(run: Run) -> Growth:
    """Tell a rate above saturation from a line through the requests in the system over the arrivals.

    Parameters
    ----------
    run : Run
        Of an open loop; in a closed loop the requests in the system are bounded by the clients.

    Returns
    -------
    Growth

    Notes
    -----
    The fill of an empty system is no growth: the line starts two service times (median start to last
    token of the first twentieth of the requests) after the first arrival, and the rest must be at least
    half of the arrivals' time. That rest is cut into 32 equal stretches. It is unstable when all hold:

    - the slope is at least 1 % of the arrival rate;
    - the mean change from stretch to stretch is at least 3 of its standard errors (the requests in a
      system at its limit walk at random: the changes are what is independent, not the levels);
    - the second half grows at least half as fast as the whole: what fills up to a level slows down.

    Requests that are sent within four service times fill the system all the while. There the line goes
    through those that wait for their first step, over the second half, and has to rise by 10 % of the
    arrival rate. In queues with known limits (1 and 64 servers, shared ones, regular to bursty arrivals)
    no run of 1,000 requests or more was called unstable at up to 95 % of saturation; of runs of 5,000
    at 110 % nine in ten were (one in three with very bursty arrivals), at 120 % all.

    A rate that itself rises until the end of a trace looks the same, and is said the same way.
    """
    log = run.log
    if run.requests.concurrency is not None:
        return _not_judged(log, "closed loop: what is in the system is bounded by the clients")
    sent = log.arrival_s
    free = sent if (run.requests.follows == NOBODY).all() else sent[run.requests.follows == NOBODY]
    first_s, last_s = float(np.fmin.reduce(free)), float(np.fmax.reduce(free))
    count = int(np.count_nonzero(sent <= last_s))
    if count < _LEAST_ARRIVALS or not last_s > first_s:
        return _not_judged(log, f"{count} arrivals are too few to tell; give at least {_LEAST_ARRIVALS}")
    early = slice(0, max(16, count // 20))
    service_s = log.finish_s[early] - log.start_s[early]
    service_s = service_s[np.isfinite(service_s)]
    if service_s.size == 0:
        return _not_judged(log, "none of the first requests was completed: too short to tell")
    from_s = first_s + 2.0 * float(np.median(service_s))
    if last_s - from_s < 0.5 * (last_s - first_s):
        return _judge(log, log.start_s, 0.5 * (first_s + last_s), last_s, _LEAST_SHARE_WAITING)
    return _judge(log, log.finish_s, from_s, last_s, _LEAST_SHARE)


def _judge(log: RequestLog, gone_s: FloatArray, from_s: float, to_s: float, least_share: float) -> Growth:
    arrivals, level = _levels(log, gone_s, from_s, to_s)
    stretch_s = (to_s - from_s) / _STRETCHES
    change = np.diff(level)
    error = float(change.std(ddof=1)) / math.sqrt(change.size)
    drift = float(change.mean())
    score = drift / error if error > 0.0 else (math.inf if drift > 0.0 else 0.0)
    means = 0.5 * (level[:-1] + level[1:])
    slope, late = _slope(means) / stretch_s, _slope(means[_STRETCHES // 2 :]) / stretch_s
    rate = arrivals / (to_s - from_s)
    unstable = slope >= least_share * rate and score >= _LEAST_SCORE and late >= _LEAST_LATE_SHARE * slope
    whole = gone_s is log.finish_s
    if unstable:
        share = 100.0 * slope / rate
        what = "requests in the system" if whole else "waiting requests"
        reason = (
            f"unstable: of {rate:.4g} requests/s sent, {share:.3g} % are more than is served; "
            f"the {what} grow by {slope:.3g} 1/s"
        )
    elif whole:
        reason = "the requests in the system do not keep growing"
    else:
        reason = "requests were sent for less than four service times: too short to tell"
    return Growth(
        unstable=bool(unstable),
        judged=bool(whole or unstable),
        requests_per_s_of_growth=slope,
        arrivals_per_s=rate,
        score=score,
        in_system_at_last_arrival=_in_system(log, to_s),
        reason=reason,
    )


def _levels(log: RequestLog, gone_s: FloatArray, from_s: float, to_s: float) -> tuple[int, FloatArray]:
    """Arrivals between, and the requests that are sent and not gone at both ends and between stretches."""
    cuts = np.linspace(from_s, to_s, _STRETCHES + 1)
    came = _counts_up_to(log.arrival_s, cuts)
    went = _counts_up_to(gone_s, cuts)
    # what was refused or lost has no last token; it is not what waits
    lost = log.state >= State.REJECTED
    if lost.any():
        went += _counts_up_to(log.arrival_s[lost & np.isnan(gone_s)], cuts)
    return int(came[-1] - came[0]), (came - went).astype(np.float64)


def _counts_up_to(times_s: FloatArray, cuts: FloatArray) -> npt.NDArray[np.int64]:
    """How many times lie at or before each cut."""
    return np.array([np.count_nonzero(times_s <= cut) for cut in cuts], dtype=np.int64)


def _slope(values: FloatArray) -> float:
    """Least squares slope over the index."""
    index = np.arange(values.size) - (values.size - 1) / 2.0
    return float(index @ values / (index @ index))


def _in_system(log: RequestLog, at_s: float) -> int:
    here = (log.arrival_s <= at_s) & ~(log.finish_s <= at_s) & (log.state < State.REJECTED)
    return int(np.count_nonzero(here))


def _not_judged(log: RequestLog, reason: str) -> Growth:
    return Growth(
        unstable=False,
        judged=False,
        requests_per_s_of_growth=math.nan,
        arrivals_per_s=math.nan,
        score=math.nan,
        in_system_at_last_arrival=_in_system(log, float(np.fmax.reduce(log.arrival_s, initial=-math.inf))),
        reason=reason,
    )
