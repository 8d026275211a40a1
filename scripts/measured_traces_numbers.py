"""Measured runs beside their simulations, and the numbers that docs/measured-traces.md says in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import measured_traces_text as text
import numpy as np
import numpy.typing as npt

from tokenroof.calibrate.serving import Latencies, MeasuredRun, predict, predicted
from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Batch
from tokenroof.perf.table import StepTable

SETTLED_S = 60.0
"""From here on of a stage, residuals are looked at: the server has started, prompts are cached. [s]"""
QUEUED_FROM_S = 300.0
"""The line of the overloaded run is never empty from here on. [s]"""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A measured run and its predictions.

    Attributes
    ----------
    run : MeasuredRun
        What was measured.
    best : Latencies
        Predicted under the conditions that the evidence speaks for: repeated prompts are cached.
    different : Latencies or None
        Predicted as if no two prompts were the same; None where ``best`` is that.
    table : StepTable
        Times of its steps.
    """

    run: MeasuredRun
    best: Latencies
    different: Latencies | None
    table: StepTable


def compare(run: MeasuredRun) -> Compared:
    """Simulate a run, with and without what is known of repeated prompts."""
    catalog = load()
    estimate = predict(run, catalog, repeating=False)
    alone = predicted(estimate)
    assert estimate.run is not None, "predicted() has found one"
    table = estimate.run.setup.pools[0].table
    if run.repeats_every is None:
        return Compared(run=run, best=alone, different=None, table=table)
    best = predicted(predict(run, catalog, repeating=True))
    return Compared(run=run, best=best, different=alone, table=table)


def settled(run: MeasuredRun, stage: int) -> BoolArray:
    """Requests of a stage after its first minute, and after the first round of prompts."""
    found: BoolArray = (run.stage == stage) & (run.arrival_s > run.stage_starts_s[stage] + SETTLED_S)
    return found


def in_system(run: MeasuredRun) -> FloatArray:
    """Requests that were sent and not finished when each was sent."""
    ended = np.sort(run.arrival_s + run.measured.e2e_s)
    ahead = np.arange(run.arrival_s.size, dtype=np.float64)
    return ahead - np.searchsorted(ended, run.arrival_s)


def refill_s(run: MeasuredRun, which: Latencies) -> float:
    """Median time from the end of a request to the next first token, where the line is never empty. [s]"""
    first_s = np.sort(run.arrival_s + which.ttft_s)
    ended_s = run.arrival_s + which.e2e_s
    inside = ended_s[(ended_s > QUEUED_FROM_S) & (ended_s <= run.arrival_s[-1])]
    return float(np.median(first_s[np.searchsorted(first_s, inside, side="right")] - inside))


def overload(each: Compared) -> text.Overload:
    """The numbers of the run that is sent more than is served."""
    run = each.run
    found = {}
    for name, which in (("predicted", each.best), ("measured", run.measured)):
        first_s = run.arrival_s + which.ttft_s
        steady = (first_s > QUEUED_FROM_S) & (first_s <= run.arrival_s[-1])
        early = (first_s > 40.0) & (first_s <= 60.0)
        found[name] = text.Served(
            rate_per_s=float(np.count_nonzero(steady) / (run.arrival_s[-1] - QUEUED_FROM_S)),
            early_tpot_s=float(which.tpot_s[early].mean()),
            late_tpot_s=float(which.tpot_s[first_s > run.arrival_s[-1] - 300.0].mean()),
            refill_s=refill_s(run, which),
        )
    return text.Overload(
        offered_per_s=run.rates_per_s[0], most_in_system=int(in_system(run).max()) + 1, **found
    )


def mean_in_system(each: Compared, stage: int) -> tuple[float, float]:
    """Requests in the system in a stage by Little's law: predicted and measured."""
    run, chosen = each.run, settled(each.run, stage)
    rate_per_s = float(chosen.sum() / np.ptp(run.arrival_s[chosen]))
    ours, theirs = (float(which.of("e2e_s", chosen).mean()) for which in (each.best, run.measured))
    return rate_per_s * ours, rate_per_s * theirs


def engine_clock_gap(each: Compared) -> text.EngineClock:
    """Requests that found the engine busy and a place free, where the engine took the times itself."""
    run = each.run
    chosen = (in_system(run) >= run.max_num_seqs // 4) & (in_system(run) < run.max_num_seqs - 1)
    ours, theirs = (float(which.of("ttft_s", chosen).mean()) for which in (each.best, run.measured))
    step_s = float(run.measured.tpot_s[chosen].mean())
    return text.EngineClock(requests=int(chosen.sum()), predicted_s=ours, measured_s=theirs, step_s=step_s)


def prefill_fractions(found: Iterable[Compared]) -> dict[str, float]:
    """Part of the time that computing every prompt would take in the last stage of the "general" runs."""
    out = {}
    for each in found:
        run = each.run
        if run.name.endswith(" general"):
            tokens = round(float(run.isl_tokens.mean()))
            batch = Batch(
                prefill_seqs=1,
                prefill_tokens=tokens,
                prefill_pairs=tokens * (tokens + 1) // 2,
                prefill_logits=1,
            )
            spent_s = each.table.step_s(batch) - each.table.overhead_s
            out[run.model] = float(run.rates_per_s[-1] * spent_s)
    return out


def tpot_ratios(found: Iterable[Compared]) -> tuple[float, float, float, float]:
    """Least and largest ratio of the mean time per token without and with repeated prompts, never full."""
    alone, cached = [], []
    for each in found:
        if each.different is not None and each.run.name.endswith((" codegen", " roleplay")):
            theirs = float(each.run.measured.tpot_s.mean())
            alone.append(float(each.different.tpot_s.mean()) / theirs)
            cached.append(float(each.best.tpot_s.mean()) / theirs)
    return min(alone), max(alone), min(cached), max(cached)


def tpot_groups(found: Iterable[Compared]) -> dict[str, tuple[float, float]]:
    """Least and largest ratio of the mean time per token by kind of run, the overloaded one aside."""
    groups: dict[str, list[float]] = {}
    for each in found:
        run = each.run
        if run.name == text.OVERLOADED:
            continue
        kind = "experts" if run.model.startswith("mixtral") else "dense"
        if run.clock == "engine":
            kind = "one card" if run.tp == 1 else "two cards"
        ratio = float(each.best.tpot_s.mean() / run.measured.tpot_s.mean())
        groups.setdefault(kind, []).append(ratio)
    return {kind: (min(ratios), max(ratios)) for kind, ratios in groups.items()}
