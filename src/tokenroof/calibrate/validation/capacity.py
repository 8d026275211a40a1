"""Rows that state the most a deployment serves within latency limits: MLPerf's Server and Interactive."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from tokenroof.calibrate.validation.core import Case, Row, UnmappedError
from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Estimate
from tokenroof.deploy.simulated.capacity import Search, highest_rate
from tokenroof.deploy.simulated.criterion import Percentile
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.errors import InputError
from tokenroof.workload.core import FloatArray, RequestClass, Slo

BRACKET = 0.05
"""The search ends when the next higher rate that misses is at most so much above, as a fraction."""

_FULL = (0.25, 0.75)
"""Part of a flood's completions between which the deployment is full."""

_LIMIT = re.compile(r"(ttft|tpot|latency)\s*(?:<=|<)?\s*([\d.]+)\s*(ms|s)\b", re.I)
_FIELDS = {"ttft": "ttft_s", "tpot": "tpot_s", "latency": "e2e_s"}

_RULES = {
    ("deepseek-r1", "Interactive"): Slo(ttft_s=1.5, tpot_s=0.015),
}
"""Limits of MLPerf Inference v6.0 by model and scenario, where a row names the rules alone (MLCommons, "A new
GPT-OSS benchmark and DeepSeek R1 updates", 2026)."""


def limits_of(row: Row, model_name: str) -> Slo:
    """The limits that a row was measured under, each at the 99th percentile.

    Parameters
    ----------
    row : Row
        Column ``constraint``: "p99 TTFT<=2s, TPOT<=200ms", "p99 latency 20s".
    model_name : str
        In the catalog: known rules of published benchmarks are looked up by it.

    Raises
    ------
    UnmappedError
        It states none.
    """
    said = row.text("constraint")
    found = {_FIELDS[name.lower()]: _seconds(value, unit) for name, value, unit in _LIMIT.findall(said)}
    if found:
        return Slo(**found)
    rule = _RULES.get((model_name, row.text("scenario")))
    if rule is None or "mlperf" not in said.lower():
        raise UnmappedError(
            f"constraint {said[:60]!r} states no latency limit, so the highest rate is not defined. "
            "Write 'p99 TTFT<=2s, TPOT<=200ms'."
        )
    return rule


def _seconds(value: str, unit: str) -> float:
    try:
        return float(value) * (1e-3 if unit.lower() == "ms" else 1.0)
    except ValueError:
        raise UnmappedError(f"a latency limit must be a number, got {value[:40]!r}.") from None


def at_highest_rate(case: Case, limits: Slo, catalog: Catalog) -> tuple[dict[str, float], Estimate]:
    """Throughput at the highest Poisson rate that meets the limits, and the answer there.

    A benchmark at a rate runs for long: what it reports is the rate times the mean lengths, without the
    ramps of a short run. A short run hides a queue that grows slowly: what is served of a flood is the most.

    Raises
    ------
    InputError
        No rate meets the limits.
    """
    requests = replace(case.requests, classes=(RequestClass(slo=limits),))
    flood = _flood_per_s(case, catalog)
    search = Search(criterion=Percentile(quantile="p99"), tolerance_fraction=BRACKET, start_rate_per_s=flood)
    found = highest_rate(
        case.deployment, requests, catalog=catalog, serving=case.serving, search=search, label=case.row.id
    )
    if found.rate_per_s is None or found.estimate is None:
        problem = found.infeasible
        raise InputError(problem.reason if problem is not None else "no rate meets the limits.")
    tokens = {
        "input_tput_per_gpu": float(requests.isl_tokens.mean()),
        "output_tput_per_gpu": float(requests.osl_tokens.mean()) / case.beams,
    }
    tokens["total_tput_per_gpu"] = sum(tokens.values())
    rate = min(found.rate_per_s, flood) / case.counts_chips
    return {name: rate * mean for name, mean in tokens.items()}, found.estimate


def _flood_per_s(case: Case, catalog: Catalog) -> float:
    """Requests per second while the deployment is full, all of them sent at once. [1/s]

    Without the tail, in which the batch empties.
    """
    requests = replace(case.requests, arrival_s=np.zeros(len(case.requests)))
    found = simulate(case.deployment, requests, catalog=catalog, serving=case.serving)
    if found.infeasible is not None or found.run is None:
        raise InputError(found.infeasible.reason if found.infeasible is not None else "nothing was served.")
    return full_rate_per_s(found.run.log.finish_s)


def full_rate_per_s(finish_s: FloatArray) -> float:
    """Requests per second between the completions of a queue's middle half. [1/s]

    Parameters
    ----------
    finish_s : FloatArray
        When each of the requests, all sent at once, was complete. [s]
    """
    ordered = np.sort(finish_s)
    low, high = int(_FULL[0] * ordered.size), int(_FULL[1] * ordered.size)
    return float((high - low) / (ordered[high] - ordered[low]))
