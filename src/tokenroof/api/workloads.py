"""From the traffic of a spec to a workload: requests that are drawn, sessions, a trace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokenroof.api.spec.core import Spec
from tokenroof.api.spec.draws import delays_of, lengths_of
from tokenroof.api.spec.sections import ClassSection, SloSection
from tokenroof.api.spec.traffic import DEFAULT_REQUESTS, SessionsSection, TrafficSection
from tokenroof.errors import InputError
from tokenroof.workload.arrivals import Constant, Gamma, Poisson, Varying
from tokenroof.workload.core import Arrivals, RequestClass, Requests, Slo, Workload
from tokenroof.workload.identities import SharedPrompt
from tokenroof.workload.pairs import Independent
from tokenroof.workload.readers.core import ReadWorkload, Trace
from tokenroof.workload.readers.detect import read_trace
from tokenroof.workload.readers.servegen_draw import ServeGenClients
from tokenroof.workload.sessions import ClosedSessions, Conversation, OpenSessions
from tokenroof.workload.synthetic import ClosedLoop, OpenLoop, Traffic
from tokenroof.workload.wrappers import Limited, Scaled


def workload_of(spec: Spec, rate: float | None) -> Workload:
    """What is sent.

    Parameters
    ----------
    spec : Spec
        Whose traffic, classes and limits.
    rate : float or None
        One of ``spec.traffic.rate``; None where that is not how the load is given. [1/s]

    Raises
    ------
    InputError
        What contradicts itself; a trace that cannot be read.
    """
    traffic = spec.traffic
    if traffic.trace is not None:
        return _traced(spec, traffic, rate)
    arrivals = _arrivals(traffic, rate)
    count = traffic.num_requests or (None if traffic.duration is not None else DEFAULT_REQUESTS)
    if traffic.sessions is not None:
        return _sessions(spec, traffic, traffic.sessions, arrivals, count)
    mix = _mix(spec, traffic)
    if arrivals is None:
        assert traffic.concurrency is not None
        return ClosedLoop(
            concurrency=traffic.concurrency,
            mix=mix,
            num_requests=count or DEFAULT_REQUESTS,
            think=delays_of(traffic.think),
            ramp_up_s=traffic.ramp_up,
        )
    return OpenLoop(arrivals=arrivals, mix=mix, num_requests=count, duration_s=traffic.duration)


def _arrivals(traffic: TrafficSection, rate: float | None) -> Arrivals | None:
    """The process of an open loop; None for a closed one."""
    if rate is not None:
        return _process(rate, traffic.burstiness)
    unit = _process(1.0, traffic.burstiness)
    if traffic.windows:
        return Varying(
            rates_per_s=np.array([window.rate for window in traffic.windows]),
            windows_s=np.array([window.lasts for window in traffic.windows]),
            base=unit,
        )
    if traffic.day is not None:
        day = traffic.day
        return Varying.sinusoidal(
            mean_rate_per_s=day.mean,
            amplitude_fraction=day.swing,
            period_s=day.period,
            peak_s=day.peak,
            base=unit,
        )
    return None


def _process(rate: float, burstiness: float) -> Arrivals:
    if burstiness == 1.0:
        return Poisson(rate_per_s=rate)
    if math.isinf(burstiness):
        return Constant(rate_per_s=rate)
    return Gamma(rate_per_s=rate, burstiness=burstiness)


def _mix(spec: Spec, traffic: TrafficSection) -> tuple[Traffic, ...]:
    shared = _shared(traffic)
    return tuple(
        Traffic(
            lengths=Independent(isl=lengths_of(isl), osl=lengths_of(osl)),
            share=each.share,
            request_class=request_class(each, spec.slo),
            shared=shared,
        )
        for each in _classes(spec)
        for isl in [traffic.isl if each.isl is None else each.isl]
        for osl in [traffic.osl if each.osl is None else each.osl]
    )


def _sessions(
    spec: Spec,
    traffic: TrafficSection,
    sessions: SessionsSection,
    arrivals: Arrivals | None,
    count: int | None,
) -> Workload:
    mix = tuple(
        Conversation(
            turns=lengths_of(sessions.turns),
            new_tokens=lengths_of(sessions.new_tokens),
            osl=lengths_of(traffic.osl if each.osl is None else each.osl),
            think=delays_of(sessions.think),
            first_tokens=None if sessions.first_tokens is None else lengths_of(sessions.first_tokens),
            shared=_shared(traffic),
            max_context_tokens=sessions.max_context,
            share=each.share,
            request_class=request_class(each, spec.slo),
        )
        for each in _classes(spec)
    )
    if arrivals is not None:
        return OpenSessions(arrivals=arrivals, mix=mix, num_sessions=count, duration_s=traffic.duration)
    assert traffic.concurrency is not None
    return ClosedSessions(
        concurrency=traffic.concurrency,
        mix=mix,
        num_sessions=count or DEFAULT_REQUESTS,
        pause=delays_of(traffic.think),
        ramp_up_s=traffic.ramp_up,
    )


def _shared(traffic: TrafficSection) -> SharedPrompt | None:
    said = traffic.shared
    return (
        None
        if said is None
        else SharedPrompt(tokens=said.tokens, groups=said.groups, zipf_exponent=said.zipf)
    )


def _classes(spec: Spec) -> tuple[ClassSection, ...]:
    return spec.classes or (ClassSection(name="all"),)


def request_class(each: ClassSection, slo: SloSection) -> RequestClass:
    """A class with its own limits, or those of the spec."""
    said = slo if each.slo is None else each.slo
    limits = Slo(ttft_s=said.ttft, tpot_s=said.tpot, e2e_s=said.e2e)
    return RequestClass(name=each.name, priority=each.priority, slo=limits)


# --- traces --------------------------------------------------------------------------------------


def _traced(spec: Spec, traffic: TrafficSection, rate: float | None) -> Workload:
    assert traffic.trace is not None
    read = read_trace(
        traffic.trace, format=traffic.trace_format, sort=traffic.sort, skip_empty=traffic.skip_empty
    )
    found: Workload = _sent(read, traffic, rate)
    if traffic.duration is not None:
        found = Limited(workload=found, to_s=traffic.duration)
    if traffic.speed != 1.0:
        found = Scaled(workload=found, rate_factor=traffic.speed)
    if not spec.classes and not _asked(spec.slo):
        return found
    given = tuple(request_class(each, spec.slo) for each in _classes(spec))
    shares = tuple(each.share for each in _classes(spec))
    return Classed(workload=found, classes=given, shares=shares, named=bool(spec.classes))


def _sent(read: ReadWorkload, traffic: TrafficSection, rate: float | None) -> Workload:
    """The trace at its own times, at a rate, or in a closed loop."""
    process = _arrivals(traffic, rate)
    if isinstance(read, Trace):
        part = read if traffic.num_requests is None else read.first(traffic.num_requests)
        if traffic.concurrency is not None:
            return part.in_closed_loop(traffic.concurrency)
        return part if process is None else part.sent_by(process)
    if traffic.concurrency is not None or not isinstance(read, ServeGenClients):
        raise InputError(f"a {read.format} trace is a process of its own times. Leave out concurrency.")
    sent = read if rate is None else replace(read, asked_rate_per_s=rate)
    return sent if traffic.num_requests is None else Limited(workload=sent, num_requests=traffic.num_requests)


def _asked(slo: SloSection) -> bool:
    return not (slo.ttft is None and slo.tpot is None and slo.e2e is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classed:
    """The requests of a trace with limits and priorities.

    Attributes
    ----------
    workload : Workload
        Its requests.
    classes : tuple of RequestClass
        By name where the trace has classes of these names; else drawn by ``shares``.
    shares : tuple of float
        Part of the requests of each.
    named : bool
        Whether the classes were given; otherwise the limits of the only one go for all classes.
    """

    workload: Workload
    classes: tuple[RequestClass, ...]
    shares: tuple[float, ...]
    named: bool

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones.

        Raises
        ------
        InputError
            The trace has several classes, of other names.
        """
        requests = self.workload.requests(seed)
        if not self.named:
            limits = self.classes[0].slo
            return replace(requests, classes=tuple(replace(each, slo=limits) for each in requests.classes))
        mine = {each.name: each for each in self.classes}
        names = [each.name for each in requests.classes]
        if all(name in mine for name in names):
            return replace(requests, classes=tuple(mine[name] for name in names))
        if len(names) > 1:
            raise InputError(f"classes of the trace are {', '.join(names)}, got {', '.join(mine)}.")
        rng = np.random.default_rng([seed, len(requests)])
        weights = np.array(self.shares) / sum(self.shares)
        drawn = rng.choice(len(self.classes), size=len(requests), p=weights)
        return replace(requests, classes=self.classes, class_index=drawn.astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Requests that have been drawn already, so that nobody draws them again."""

    table: Requests

    def requests(self, seed: int) -> Requests:
        """They, whatever the seed."""
        return self.table


def summary(requests: Requests) -> Mapping[str, Any]:
    """Mean lengths and the longest request. [tokens]"""
    return {
        "isl": max(1, round(float(requests.isl_tokens.mean()))),
        "osl": max(1, round(float(requests.osl_tokens.mean()))),
        "longest": int((requests.isl_tokens + requests.osl_tokens).max()),
    }
