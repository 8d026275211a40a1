"""From a run to an estimate: the same result type as the closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tokenroof.deploy.accounts import accounts
from tokenroof.deploy.answer import (
    assemble,
    explain_decode,
    explain_prefill,
    infeasible,
    phases_of,
)
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Estimate, Infeasible, Metric, Role
from tokenroof.deploy.halves.models import part_of
from tokenroof.deploy.simulated.halves import replica_chips
from tokenroof.deploy.simulated.halves_answer import of_halves, phases_of_halves, works_of
from tokenroof.deploy.simulated.pools import Served
from tokenroof.deploy.simulated.question import Prepared, decoding_pool
from tokenroof.deploy.simulated.spent import PoolWork, usage_of, used
from tokenroof.deploy.simulated.terms import QUANTILES, run_metric
from tokenroof.serve.metrics import ClassMetrics, Metrics, measure
from tokenroof.serve.pools import PoolUse
from tokenroof.serve.quantiles import Distribution
from tokenroof.serve.results import Run, State
from tokenroof.serve.spans import WHOLE

Values = Iterator[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class MeanRequest:
    """Mean lengths of the requests that were completed."""

    isl_tokens: float
    osl_tokens: float


def answer(prepared: Prepared, run: Run) -> Estimate:
    """The estimate that a run comes to.

    Parameters
    ----------
    prepared : Prepared
        What was asked.
    run : Run
        What came of it, complete or interrupted.

    Returns
    -------
    Estimate
        With the run in it. When nothing was completed of a complete run, it says why instead.
    """
    question = prepared.question
    deployment, shape, plan = question.deployment, question.shape, question.plan
    served = decoding_pool(prepared.served)
    memory = capacity(served.pool, part_of(deployment, served.pool), deployment.precision, shape)
    measured = measure(run, prepared.serving.window)
    concurrency = run.requests.concurrency or _rounded(measured.mean_concurrency)
    if run.complete and not measured.counts.completed:
        problem = _nothing_completed(measured, served)
        return replace(infeasible(question, problem, concurrency, memory), run=run)
    span_s = measured.makespan.span_s
    works, others = works_of(run, prepared.served, deployment, span_s)
    metrics = dict(_metrics(prepared, run, measured, works)) | dict(of_halves(prepared.served, works, others))
    found = {name: run_metric(name, value) for name, value in metrics.items() if math.isfinite(value)}
    spent = _spent(prepared, run, (*works, *others), span_s)
    bases = tuple(
        question.spending.basis(question.catalog.economics(), pool.chip) for pool in deployment.pools
    )
    decode = next(work for work, each in zip(works, prepared.served, strict=True) if each is served)
    prompts = next(each.pool for each in prepared.served if each.pool.role is not Role.DECODE)
    query = served.setup.table.subject.decode_tokens
    estimate = assemble(
        question,
        concurrency=concurrency,
        metrics=found | spent,
        capacity=memory,
        phases=phases_of(
            plan,
            prefill=lambda: explain_prefill(question, prompts),
            decode=lambda: explain_decode(
                question,
                served.pool,
                max(1, round(decode.decode_seqs)),
                max(1, decode.in_flight),
                query_tokens=query,
            ),
        )
        | phases_of_halves(question, served, max(1, round(decode.decode_seqs))),
        bases=bases,
        assumptions=(*_said_first(measured, run), *_traffic(prepared, run), *prepared.notes),
    )
    return replace(estimate, run=run)


def _rounded(value: float) -> int:
    return max(1, round(value)) if math.isfinite(value) else 1


def _nothing_completed(measured: Metrics, served: Served) -> Infeasible:
    why = ", ".join(f"{count} {reason}" for reason, count in measured.counts.by_reason.items())
    chips, size = served.pool.parallel.chips, served.size
    return Infeasible(
        reason=f"no request was completed: {why or 'none was sent'}. A replica of {chips} x "
        f"{served.pool.chip.name} holds {size.num_blocks} blocks of {size.block_tokens} tokens."
    )


def _said_first(measured: Metrics, run: Run) -> tuple[str, ...]:
    """What makes every other number doubtful."""
    out = []
    if measured.growth.unstable:
        out.append(f"{measured.growth.reason}; latencies grow with the length of the run")
    if not run.complete:
        out.append(
            f"interrupted: {measured.counts.completed} of {measured.counts.requests} requests were completed"
        )
    return tuple(out)


def _traffic(prepared: Prepared, run: Run) -> tuple[str, ...]:
    """What is assumed of client, routing and warm-up."""
    requests, serving = run.requests, prepared.serving
    client = (
        f"closed loop, {requests.concurrency} in progress, the next is sent when one has ended"
        if requests.concurrency is not None
        else "open loop, sent at given times whatever happens"
    )
    router = type(prepared.setup.router).__name__
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in router).strip()
    window = serving.window
    if window == WHOLE:
        trimmed = "the whole run counts, warm-up and the last requests included"
    elif window.skip_first:
        trimmed = f"the first {window.skip_first} requests are left out"
    else:
        trimmed = f"what is sent from {window.from_s:g} s to {window.to_s:g} s counts"
    lines = [f"client: {client}", f"window: {trimmed}"]
    if any(pool.replicas > 1 for pool in prepared.setup.pools):
        lines.append(f"router: {words}")
    return tuple(lines)


def _metrics(prepared: Prepared, run: Run, measured: Metrics, works: tuple[PoolWork, ...]) -> Values:
    """Every metric but those of money, energy and carbon; one that is not finite is left out later."""
    chips = _chips(prepared)
    window, counts = measured.window, measured.counts
    for name in ("ttft", "tpot", "e2e", "queue", "itl", "transfer"):
        yield from _latency(name, getattr(measured, f"{name}_s"))
    yield "request_rate_per_s", _sent_per_s(run, measured)
    for name in ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s"):
        yield name, getattr(window, name)
    yield "output_tokens_per_s_per_chip", window.output_tokens_per_s / chips
    yield "total_tokens_per_s_per_chip", window.total_tokens_per_s / chips
    if measured.tpot_s.count:
        yield "output_tokens_per_s_per_user", 1.0 / measured.tpot_s.mean
    if any(kind.slo.asked for kind in run.requests.classes):
        yield "goodput_requests_per_s", measured.goodput_requests_per_s
        yield "good_fraction", measured.good_fraction
    if len(measured.classes) > 1:
        for kind in measured.classes:
            yield from _of_class(kind)
    yield "chips", chips
    yield "requests", counts.requests
    for name in ("completed", "rejected", "failed", "in_flight"):
        yield f"{name}_requests", getattr(counts, name)
    if measured.growth.unstable:
        yield "queue_growth_requests_per_s", measured.growth.requests_per_s_of_growth
    yield "mean_concurrency", measured.mean_concurrency
    yield "preemptions", measured.preemptions
    yield "recomputed_tokens", measured.recomputed_tokens
    if run.requests.prefixes is not None:
        yield "prefix_hit_fraction", measured.prefix_hit_fraction
    if run.setup.fleet.incidents:
        yield "retries", measured.retries
    yield "run_s", measured.makespan.span_s
    for work, use, tag in zip(works, measured.pools, _tags(prepared.served), strict=True):
        for name, value in _of_pool(work, use, run):
            yield f"{name}{tag}", value
    yield from _of_tiers(run, measured.makespan.span_s)


def _chips(prepared: Prepared) -> int:
    spares = prepared.serving.fleet.spares
    return sum(
        replica_chips(each) * (each.pool.replicas + (spares[index] if index < len(spares) else 0))
        for index, each in enumerate(prepared.served)
    )


def _latency(name: str, found: Distribution, tag: str = "") -> Values:
    if found.count:
        yield f"{name}_s{tag}", found.mean
        for quantile in QUANTILES:
            yield f"{name}_{quantile}_s{tag}", getattr(found, quantile)


def _of_class(kind: ClassMetrics) -> Values:
    tag = f":{kind.name}"
    yield f"goodput_requests_per_s{tag}", kind.goodput_requests_per_s
    yield f"good_fraction{tag}", kind.good_fraction
    for name in ("ttft", "tpot", "e2e"):
        yield from _latency(name, getattr(kind, f"{name}_s"), tag)


def _sent_per_s(run: Run, measured: Metrics) -> float:
    """Requests sent per second, over the time in which any are."""
    sent = run.log.arrival_s[np.isfinite(run.log.arrival_s)]
    inside = sent[(sent >= measured.from_s) & (sent <= measured.to_s)]
    if inside.size < 2 or inside.max() <= inside.min():
        return math.nan
    return float((inside.size - 1) / (inside.max() - inside.min()))


def _tags(served: tuple[Served, ...]) -> tuple[str, ...]:
    """Nothing for one pool; else its role, with a number when several have it."""
    if len(served) == 1:
        return ("",)
    roles = [str(each.pool.role) for each in served]
    return tuple(
        f":{role}" if roles.count(role) == 1 else f":{role}{roles[:index].count(role) + 1}"
        for index, role in enumerate(roles)
    )


def _of_pool(work: PoolWork, use: PoolUse, run: Run) -> Values:
    pool = work.served.pool
    chips = use.replicas_up * pool.parallel.chips
    if pool.role is not Role.DECODE:
        yield "prefill_tokens_per_s_per_chip", use.prefill_tokens_per_s / chips if chips else math.nan
    if pool.role is not Role.PREFILL:
        yield "decode_tokens_per_s_per_chip", use.decode_tokens_per_s / chips if chips else math.nan
        yield "decode_batch_seqs", work.decode_seqs
    yield "replicas_up", use.replicas_up
    yield "running_seqs", use.running_seqs / use.replicas_up if use.replicas_up else math.nan
    yield "waiting_seqs", use.waiting_seqs
    yield "kv_used_fraction", use.used_fraction
    yield "kv_peak_fraction", use.peak_fraction
    yield "busy_fraction", use.busy_fraction
    yield from used(work)
    if pool.role is not Role.BOTH:
        yield "link_fraction", use.link_busy_fraction
    if run.setup.fleet.incidents:
        yield "slowed_fraction", use.slowed_fraction


def _of_tiers(run: Run, span_s: float) -> Values:
    for index, tier in enumerate(run.setup.pools[0].tiers):
        tag = f":{tier.name}"
        yield f"tier_loaded_bytes{tag}", float(run.tiers["loaded_bytes"][index])
        yield f"tier_stored_bytes{tag}", float(run.tiers["stored_bytes"][index])
        yield f"tier_fraction{tag}", float(run.tiers["busy_s"][index]) / span_s if span_s else math.nan


def _spent(prepared: Prepared, run: Run, works: tuple[PoolWork, ...], span_s: float) -> dict[str, Metric]:
    """Money, energy and carbon of the whole run, per token of the completed requests and in all."""
    done = run.log.state == State.COMPLETED
    count = int(np.count_nonzero(done))
    if not count or not span_s > 0.0:
        return {}
    mean = MeanRequest(float(run.log.isl_tokens.mean(where=done)), float(run.log.out_tokens.mean(where=done)))
    question = prepared.question
    usages = tuple(
        usage_of(work, question.spending, question.catalog, span_s=span_s, requests=count) for work in works
    )
    found = accounts(usages, mean, requests_per_s=count / span_s)
    values = {name: each.value for name, each in found.items()}
    paid = sum(usage.chips for usage in usages)
    values["mean_chips"] = paid
    values["mfu_fraction"] = sum(usage.compute_chip_s for usage in usages) * count / (span_s * paid)
    values |= _totals(values, mean, count, span_s)
    return {name: run_metric(name, value) for name, value in values.items()}


def _totals(values: Mapping[str, float], mean: MeanRequest, count: int, span_s: float) -> dict[str, float]:
    """What the whole run took."""
    output = mean.osl_tokens * count
    tokens = output + mean.isl_tokens * count
    scale = {
        "run_usd": ("usd_per_hour", span_s / 3600.0),
        "run_energy_j": ("energy_j_per_output_token", output),
        "run_facility_energy_j": ("facility_energy_j_per_output_token", output),
        "run_gco2e_operational": ("gco2e_per_mtok_operational", tokens / 1e6),
        "run_gco2e_embodied": ("gco2e_per_mtok_embodied", tokens / 1e6),
    }
    return {name: values[of] * factor for name, (of, factor) in scale.items() if of in values}
