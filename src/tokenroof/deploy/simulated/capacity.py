"""The highest rate at which a deployment still meets the limits of its requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Deployment, Estimate, HighestRate, Infeasible, Probe
from tokenroof.deploy.estimate import estimate as closed_form
from tokenroof.deploy.intervals import with_intervals
from tokenroof.deploy.known import HIGHEST
from tokenroof.deploy.simulated.answer import answer
from tokenroof.deploy.simulated.client import serve_requests
from tokenroof.deploy.simulated.criterion import Attainment, Criterion
from tokenroof.deploy.simulated.question import Prepared, Serving, decoding_pool, prepare
from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, Requests, Workload

LOWEST = 0.01
"""The lowest rate that is tried, as a part of what the closed form serves at its largest batch."""

MOST_DOUBLINGS = 6
"""How often a rate that is still met is doubled before the requests are said to end too soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the rate is searched.

    Attributes
    ----------
    criterion : Criterion
        When limits count as met.
    tolerance_fraction : float
        Width of the bracket at which the search ends, over the rate.
    start_rate_per_s : float or None
        Where it begins; None: at what the closed form serves at its largest batch. [1/s]
    """

    criterion: Criterion = field(default_factory=Attainment)
    tolerance_fraction: float = 0.02
    start_rate_per_s: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance_fraction < 1.0:
            raise InputError(f"tolerance must lie between 0 and 1, got {self.tolerance_fraction!r}.")
        if self.start_rate_per_s is not None and not self.start_rate_per_s > 0.0:
            raise InputError(f"start_rate_per_s must be above 0, got {self.start_rate_per_s!r}.")


def highest_rate(
    deployment: Deployment,
    workload: Requests | Workload,
    *,
    catalog: Catalog,
    serving: Serving | None = None,
    search: Search | None = None,
    seed: int = 0,
    label: str = "",
    progress: Callable[[Probe], None] | None = None,
) -> HighestRate:
    """Bisection of the rate on seeded runs.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    workload : Requests or Workload
        An open loop; the times at which its requests are sent are stretched or squeezed, so that every
        probe sends the same requests in the same pattern. Delays after another request stay.
    catalog : Catalog
        Economics, sources, figures of offload tiers.
    serving : Serving, optional
        How it serves.
    search : Search, optional
        Criterion, tolerance, start.
    seed : int
        Of everything that is drawn; every probe has the same.
    label : str
        Name of the row in a comparison.
    progress : callable, optional
        Told after every probe.

    Returns
    -------
    HighestRate
        ``infeasible`` when the deployment cannot serve, or the limits are missed even at the lowest rate.

    Raises
    ------
    InputError
        A closed loop, requests that are all sent at once, or no limit at all.
    """
    requests = workload if isinstance(workload, Requests) else workload.requests(seed)
    _check(requests)
    search, serving = search or Search(), serving or Serving()
    prepared = prepare(deployment, requests, serving, catalog=catalog, seed=seed, label=label)
    if isinstance(prepared, Estimate):
        return _none(search, (), prepared.infeasible)
    probing = _Probing(prepared, requests, search, progress)
    start = search.start_rate_per_s or _largest(prepared, requests, catalog)
    floor = probing.at(LOWEST * start)
    if not floor.met:
        problem = Infeasible(
            reason=f"no rate meets the limits: at {floor.rate_per_s:.3g} requests per second {floor.missed}. "
            "Ask for less, or use faster chips or more of them per replica."
        )
        return _none(search, probing.done(), problem)
    low, high = _bracket(probing, floor, start)
    while high is not None and high.rate_per_s > low.rate_per_s * (1.0 + search.tolerance_fraction):
        middle = probing.at(float(np.sqrt(low.rate_per_s * high.rate_per_s)))
        low, high = (middle, high) if middle.met else (low, middle)
    best = with_intervals(low.estimate, catalog, load=HIGHEST)
    ends = _ends(best, low.rate_per_s)
    return HighestRate(
        rate_per_s=low.rate_per_s,
        tolerance_fraction=search.tolerance_fraction,
        bounded=high is not None,
        probes=probing.done(),
        estimate=best,
        infeasible=None,
        criterion=search.criterion.text(),
        low_rate_per_s=ends[0],
        high_rate_per_s=ends[1],
    )


def _ends(best: Estimate, rate_per_s: float) -> tuple[float | None, float | None]:
    """Between which rates the highest one lies that would be measured: as the throughput there. [1/s]"""
    served = best.metrics.get("requests_per_s")
    if served is None or served.low is None or served.high is None or not served.value > 0.0:
        return None, None
    return rate_per_s * served.low / served.value, rate_per_s * served.high / served.value


def rate_of(requests: Requests) -> float:
    """Requests per second while requests are sent that follow nobody, their followers included. [1/s]"""
    sent = requests.arrival_s[requests.follows == NOBODY]
    return len(requests) / float(sent.max())


def at_rate(requests: Requests, rate_per_s: float) -> Requests:
    """The same requests in the same pattern, sent at another mean rate."""
    free = requests.follows == NOBODY
    factor = rate_of(requests) / rate_per_s
    return replace(requests, arrival_s=np.where(free, requests.arrival_s * factor, requests.arrival_s))


def _check(requests: Requests) -> None:
    if requests.concurrency is not None:
        raise InputError(
            "the rate of a closed loop is what comes out of it. Give an open loop: times at which requests "
            "are sent."
        )
    if not float(requests.arrival_s[requests.follows == NOBODY].max()) > 0.0:
        raise InputError("all requests are sent at once: there is no rate to search. Give times or a rate.")
    if not any(kind.slo.asked for kind in requests.classes):
        raise InputError(
            "no limit is asked for. Give an SLO: a time to first token, per token or end to end."
        )


class _Probing:
    """Runs at rates, kept in order; of the runs only that of the highest rate that is met."""

    def __init__(
        self,
        prepared: Prepared,
        requests: Requests,
        search: Search,
        progress: Callable[[Probe], None] | None,
    ) -> None:
        self._prepared, self._requests = prepared, requests
        self._criterion, self._progress = search.criterion, progress
        self._probes: list[Probe] = []

    def at(self, rate_per_s: float) -> Probe:
        """Serve the requests at this rate."""
        requests = at_rate(self._requests, rate_per_s)
        found = answer(self._prepared, serve_requests(self._prepared, requests))
        missed = found.infeasible.reason if found.infeasible is not None else self._criterion.missed(found)
        probe = Probe(rate_per_s=rate_per_s, met=not missed, missed=missed, estimate=found)
        best = max((each.rate_per_s for each in (*self._probes, probe) if each.met), default=None)
        self._probes = [_slim(each, best) for each in (*self._probes, probe)]
        if self._progress is not None:
            self._progress(probe)
        return probe

    def done(self) -> tuple[Probe, ...]:
        """Every probe by rate."""
        return tuple(sorted(self._probes, key=lambda each: each.rate_per_s))


def _slim(probe: Probe, best: float | None) -> Probe:
    """Without its run, unless it is the best."""
    if probe.rate_per_s == best:
        return probe
    return replace(probe, estimate=replace(probe.estimate, run=None))


def _bracket(probing: _Probing, floor: Probe, start: float) -> tuple[Probe, Probe | None]:
    """A rate that is met and a higher one that is not; None when the requests end before."""
    low, rate = floor, start
    for _ in range(MOST_DOUBLINGS):
        probe = probing.at(rate)
        if not probe.met:
            return low, probe
        low, rate = probe, 2.0 * rate
    return low, None


def _largest(prepared: Prepared, requests: Requests, catalog: Catalog) -> float:
    """What the closed form serves at its largest batch, or a flood (several pools of a role). [1/s]"""
    deployment, pool = prepared.question.deployment, decoding_pool(prepared.served).pool
    if len({each.role for each in deployment.pools}) == len(deployment.pools):
        most = pool.engine.max_num_seqs * pool.parallel.dp
        budget = (pool.engine.max_num_batched_tokens - 1) * pool.parallel.dp * pool.parallel.pp
        batch = max(1, min(_held(prepared), most, budget))
        found = closed_form(deployment, prepared.question.shape, catalog=catalog, batch=batch)
        if found.feasible:
            return found.metrics["requests_per_s"].value
    flood = replace(requests, arrival_s=np.where(requests.follows == NOBODY, 0.0, requests.arrival_s))
    run = serve_requests(prepared, flood)
    return len(requests) / run.end_s


def _held(prepared: Prepared) -> int:
    """Sequences of mean length that the cache of a decoding replica holds."""
    served, shape = decoding_pool(prepared.served), prepared.question.shape
    each = served.size.blocks_of(shape.isl_tokens + shape.osl_tokens)
    return served.size.rank_blocks // each * served.pool.parallel.dp


def _none(search: Search, probes: tuple[Probe, ...], problem: Infeasible | None) -> HighestRate:
    return HighestRate(
        rate_per_s=None,
        tolerance_fraction=search.tolerance_fraction,
        bounded=True,
        probes=probes,
        estimate=None,
        infeasible=problem,
        criterion=search.criterion.text(),
    )
