"""Intervals of metrics: between which values measured servings lie, nine of ten.

``docs/model/intervals.md`` says where the factors come from and how they widen for what nobody measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tokenroof.catalog.accuracy import BORROWED, CHIP, CLOSED_FORM, ENGINE, MODEL, SIMULATED, Accuracy
from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Estimate, Metric
from tokenroof.deploy.good import LATENCIES, good_ends
from tokenroof.deploy.known import (
    CLOSED,
    OFFLINE,
    OPEN,
    THROUGHPUT,
    Asked,
    Range,
    asked_of,
    log_factors,
    scopes,
    under_known_name,
)
from tokenroof.perf.energy import power_interval


class Rule(NamedTuple):
    """What the interval of a metric follows.

    Attributes
    ----------
    of : str
        Metric whose errors were measured; "" for power alone.
    sense : int
        1 when it moves with it, -1 when it moves against it: a cost per token falls as throughput rises.
    power : bool
        Whether the error of the power comes on top.
    most : float
        What the metric cannot exceed.
    """

    of: str
    sense: int = 1
    power: bool = False
    most: float = math.inf


GOOD_FRACTION, GOODPUT = "good_fraction", "goodput_requests_per_s"
_RATES = (
    *("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s"),
    *("output_tokens_per_s_per_chip", "total_tokens_per_s_per_chip"),
    *("prefill_tokens_per_s_per_chip", "decode_tokens_per_s_per_chip"),
)
_PARTS = ("mfu_fraction", "compute_fraction", "memory_fraction", "network_fraction")
_TIMES_OF_ALL = (
    *("usd_per_mtok_input", "usd_per_mtok_output", "usd_per_mtok_total", "gco2e_per_mtok_embodied"),
    *("run_s", "run_usd", "run_gco2e_embodied"),
)
_ENERGIES = (
    *("energy_j_per_output_token", "facility_energy_j_per_output_token", "energy_j_per_token"),
    *("gco2e_per_mtok_operational", "run_energy_j", "run_facility_energy_j", "run_gco2e_operational"),
)
_TAILS = ("p90", "p95", "p99")

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_RATES, Rule(THROUGHPUT)),
    **dict.fromkeys(_PARTS, Rule(THROUGHPUT, most=1.0)),
    **dict.fromkeys(_TIMES_OF_ALL, Rule(THROUGHPUT, -1)),
    **dict.fromkeys(_ENERGIES, Rule(THROUGHPUT, -1, power=True)),
    "power_w_per_chip": Rule("", power=True),
    "output_tokens_per_s_per_user": Rule("tpot_s", -1),
    "decode_step_s": Rule("tpot_s"),
    "prefill_s": Rule(THROUGHPUT, -1),  # steps alone: no wait, no client, as in the sum of all steps
    "waiting_s": Rule("ttft_s"),
    **{f"{name}_s": Rule(f"{of}_s") for name, of in (("tpot", "tpot"), ("itl", "tpot"), ("e2e", "e2e"))},
    **{f"{name}_s": Rule("ttft_s") for name in ("ttft", "queue")},
    **{
        f"{name}_{quantile}_s": Rule(f"{of}_{'p50' if quantile == 'p50' else 'p99'}_s")
        for name, of in (
            ("ttft", "ttft"),
            ("queue", "ttft"),
            ("tpot", "tpot"),
            ("itl", "tpot"),
            ("e2e", "e2e"),
        )
        for quantile in ("p50", *_TAILS)
    },
}
"""What every metric follows, by its identifier without what it is of. Metrics that are not here have no
interval: they were asked for (chips, price of the deployment), or nobody measured them (cache in use)."""


_RULES = tuple(dict.fromkeys(RULES.values()))


def log_range(
    rule: Rule, asked: tuple[Asked, ...], prediction: str, accuracy: Accuracy, most: float = math.inf
) -> Range | None:
    """Logarithms of the factors on a metric, the widest of all pools; None when nothing is known.

    ``most`` is that of the largest factor on throughput that can be: nothing is served that is not sent.
    """
    found: list[Range] = []
    for each in asked:
        low = high = 0.0
        if rule.of:
            known = log_factors(each, rule.of, prediction, accuracy)
            if known is None:
                return None
            if rule.of == THROUGHPUT:
                known = min(known[0], most), min(known[1], most)
            low, high = known if rule.sense > 0 else (-known[1], -known[0])
        if rule.power:
            drawn = power_interval(each.chip)
            # Below and above are independent, so that their squares add: a slow run draws less, if anything.
            low = _both(low, math.log(drawn.low_factor))
            high = _both(high, math.log(drawn.high_factor))
        found.append((low, high))
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _both(one: float, other: float) -> float:
    """Two ends that lie on the same side, by squares; else their sum."""
    return math.copysign(math.hypot(one, other), one) if one * other > 0.0 else one + other


def load_of(estimate: Estimate) -> str:
    """How requests come; the closed form has so many in progress."""
    run = estimate.run
    if run is None or run.requests.concurrency is not None:
        return CLOSED
    at_once = not run.requests.arrival_s.size or not float(np.nanmax(run.requests.arrival_s)) > 0.0
    return OFFLINE if at_once or "queue_growth_requests_per_s" in estimate.metrics else OPEN


def with_intervals(estimate: Estimate, catalog: Catalog, *, load: str | None = None) -> Estimate:
    """The same answer, each metric with the interval in which measured values lie, nine of ten.

    Parameters
    ----------
    estimate : Estimate
        In closed form or simulated.
    catalog : Catalog
        With what is known of errors.
    load : str, optional
        How requests come, when that cannot be seen: :data:`HIGHEST`.

    Returns
    -------
    Estimate
        ``low <= value <= high`` for every metric of :data:`RULES`; errors that lie on one side reach from
        the value.
    """
    if estimate.infeasible is not None:
        return estimate
    accuracy = catalog.accuracy
    prediction = CLOSED_FORM if estimate.run is None else SIMULATED
    asked = asked_of(estimate.deployment, load=load or load_of(estimate), grounded=estimate.grounded)
    asked = under_known_name(asked, estimate.deployment.model, catalog)
    most = _all_sent(estimate) if asked[0].load == OPEN else math.inf
    ranges = {rule: log_range(rule, asked, prediction, accuracy, most) for rule in _RULES}
    metrics = dict(estimate.metrics)
    for name, metric in estimate.metrics.items():
        rule = RULES.get(name.partition(":")[0])
        found = ranges[rule] if rule is not None else None
        if rule is not None and found is not None:
            metrics[name] = between(metric, found, rule.most)
    if estimate.run is not None:
        metrics |= _good(estimate, metrics, asked, accuracy)
    ranged = any(metric.low is not None for metric in metrics.values())
    notes = notes_of(asked, accuracy) if ranged else ()
    return replace(estimate, metrics=metrics, assumptions=(*estimate.assumptions, *notes))


def _all_sent(estimate: Estimate) -> float:
    """Logarithm of requests sent over requests served: what throughput can gain in an open loop."""
    sent, served = (estimate.metrics.get(name) for name in ("request_rate_per_s", "requests_per_s"))
    if sent is None or served is None or not served.value > 0.0:
        return math.inf
    return math.log(max(sent.value / served.value, 1.0))


def between(metric: Metric, found: Range, most: float = math.inf) -> Metric:
    """A metric with the interval that logarithms of factors give."""
    value = metric.value
    ends = sorted((value * math.exp(found[0]), value * math.exp(found[1])))
    return Metric(
        value=value,
        unit=metric.unit,
        definition=metric.definition,
        low=min(ends[0], value),
        high=max(min(ends[1], most), value),
    )


def notes_of(asked: tuple[Asked, ...], accuracy: Accuracy) -> tuple[str, ...]:
    """What the intervals rest on, and why they are wider than where everything was measured."""
    lines = [
        "intervals: nine of ten measured servings that nothing was fitted to lie within; cost and energy per "
        "token fall as throughput rises"
    ]
    for each in asked:
        missing = scopes(each, accuracy)
        said = {
            CHIP: f"no serving was measured on {each.chip}",
            BORROWED: f"neither servings nor operators were measured on {each.chip}",
            ENGINE: f"{each.engine} was not measured on chips of the family {each.family}",
            MODEL: f"{each.model} in {each.format} was not measured on chips of the family {each.family}",
        }
        if missing:
            lines.append(f"intervals: wider, {', '.join(said[scope] for scope in missing)}")
        if any((*each.bandwidth, *each.peak)):
            lines.append(f"intervals: wider, by the stated ranges of the figures of {each.chip}")
    return tuple(dict.fromkeys(lines))


def _good(
    estimate: Estimate, metrics: Mapping[str, Metric], asked: tuple[Asked, ...], accuracy: Accuracy
) -> dict[str, Metric]:
    """Good requests when every latency moves to either end of its interval."""
    names = [name for name in metrics if name.partition(":")[0] in (GOOD_FRACTION, GOODPUT)]
    ends = {name: log_range(RULES[f"{name}_s"], asked, SIMULATED, accuracy) for name in LATENCIES}
    if not names or estimate.run is None or any(found is None for found in ends.values()):
        return {}
    low = {name: math.exp(min(found[0], 0.0)) for name, found in ends.items() if found is not None}
    high = {name: math.exp(max(found[1], 0.0)) for name, found in ends.items() if found is not None}
    moved = good_ends(estimate.run, low, high)
    out = {}
    for name in names:
        metric, of = metrics[name], name.partition(":")[2]
        worse, better = moved[of]
        whole = 1.0
        if name.startswith(GOODPUT):  # requests per second of which this is the good part
            part = metrics[f"{GOOD_FRACTION}:{of}" if of else GOOD_FRACTION].value
            whole = metric.value / part if part else metrics["requests_per_s"].value
        out[name] = replace(
            metric,
            low=max(0.0, metric.value + whole * worse),
            high=max(metric.value, min(whole, metric.value + whole * better)),
        )
    return out
