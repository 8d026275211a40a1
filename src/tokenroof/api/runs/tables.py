"""A plan as data frames: columns and types are the same whatever it found, rows are in its own order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl  # this module is loaded with an answer to write, not before

from tokenroof.deploy.core import Infeasible
from tokenroof.search.asked import OBJECTIVES
from tokenroof.search.core import Choice, LowerBound, PlanResult, PoolPlan, Record, Rejected

Row = dict[str, Any]

_WHOLE, _NUMBER, _TEXT, _YES = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()
_COUNTS, _TEXTS = pl.List(pl.Int64), pl.List(pl.String)
_RANGE = {"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}
_WAYS = ("tp", "pp", "dp", "ep", "cp")
_POOL = pl.Struct(
    {
        **dict.fromkeys(("role", "chip", "engine"), _TEXT),
        **dict.fromkeys((*_WAYS, "max_num_seqs", "max_num_batched_tokens"), _WHOLE),
    }
)
_CHECK = pl.Struct({"target": _TEXT, **_RANGE, "limit_s": _NUMBER, "met": _YES})
_PROBLEM = {"problem": _TEXT, "need": _NUMBER, "have": _NUMBER, "need_unit": _TEXT}

CHOICES: Mapping[str, pl.DataType] = {
    "rank": _WHOLE, "on_front": _YES, "label": _TEXT, "chips": _WHOLE, "usd_per_hour": _NUMBER,
    **{name: _NUMBER for name in OBJECTIVES if name != "chips"},
    "facility_w": _NUMBER, "nodes": _WHOLE, "racks": _WHOLE, "replicas": _COUNTS, "needed": _COUNTS,
    "bound_chips": _WHOLE, "weight_dtype": _TEXT, "kv_dtype": _TEXT, "pools": pl.List(_POOL),
    "checks": pl.List(_CHECK), "fewer": pl.List(pl.Struct({"replicas": _COUNTS, "missed": _TEXT})),
    "metrics": pl.List(pl.Struct({"name": _TEXT, **_RANGE, "unit": _TEXT})), "why": _TEXTS, "notes": _TEXTS,
}  # fmt: skip
"""Of the tables ``choices`` and ``front``; money at the stated price, power at the meter, times in s."""
CANDIDATES: Mapping[str, pl.DataType] = {
    "label": _TEXT, "replicas": _COUNTS, "rate_factor": _NUMBER, "seed": _WHOLE, "infeasible": _TEXT,
    "values": pl.List(pl.Struct({"name": _TEXT, **_RANGE})), "key": _TEXT,
}  # fmt: skip
REJECTED: Mapping[str, pl.DataType] = {
    "stage": _TEXT, "family": _TEXT, "reason": _TEXT, "count": _WHOLE, "example": _TEXT, **_PROBLEM,
}  # fmt: skip
BOUNDS: Mapping[str, pl.DataType] = {
    "chip": _TEXT, "chips": _WHOLE, "binding": _TEXT, "memory_chips": _NUMBER, "compute_chips": _NUMBER,
    "bandwidth_chips": _NUMBER, "weight_dtype": _TEXT, "kv_dtype": _TEXT,
}  # fmt: skip
ANSWER: Mapping[str, pl.DataType] = {
    "feasible": _YES, "candidates": _WHOLE, "simulated": _WHOLE, "requests_per_s": _NUMBER,
    "isl_tokens": _NUMBER, "osl_tokens": _NUMBER, "longest_tokens": _WHOLE,
    "shared_fraction": _NUMBER, "num_requests": _WHOLE,
    **_PROBLEM, "notes": _TEXTS,
}  # fmt: skip


def plan_tables(result: PlanResult, records: Iterable[Record] = ()) -> dict[str, pl.DataFrame]:
    """Everything of an answer that is kept in a run.

    Parameters
    ----------
    result : PlanResult
        The answer.
    records : iterable of Record
        Simulations that it rests on, in an order of their own (``Simulations.used``).

    Returns
    -------
    dict of str to polars.DataFrame
        ``choices``: simulated and keeping the targets, the best first; ``front``: those of them that nothing
        beats; ``candidates``: one row per simulation; ``rejected``: one row per reason; ``bounds``: fewest
        chips that physics allows; ``answer``: one row with counts, the load, and why there is no choice.
        What is not known is null.
    """
    every = enumerate((*result.front, *result.others), start=1)
    choices = _frame((_choice(rank, each, rank <= len(result.front)) for rank, each in every), CHOICES)
    return {
        "choices": choices,
        "front": choices.filter(pl.col("on_front")),
        "candidates": _frame(map(_candidate, records), CANDIDATES),
        "rejected": _frame(map(_rejected, result.rejected), REJECTED),
        "bounds": _frame(map(_bound, result.bounds), BOUNDS),
        "answer": _frame([_answer(result)], ANSWER),
    }


def _frame(rows: Iterable[Row], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(schema), orient="row")


def _choice(rank: int, choice: Choice, on_front: bool) -> Row:
    precision = choice.candidate.precision
    return {
        "rank": rank,
        "on_front": on_front,
        "label": choice.candidate.label,
        **{name: _known(choice.objectives.get(name)) for name in OBJECTIVES},
        **{name: getattr(choice, name) for name in ("chips", "nodes", "racks", "bound_chips")},
        "usd_per_hour": _known(choice.usd_per_hour),
        "facility_w": _known(choice.facility_w),
        "replicas": list(choice.replicas),
        "needed": list(choice.needed),
        "weight_dtype": precision.weights,
        "kv_dtype": precision.kv,
        "pools": [_pool(pool) for pool in choice.candidate.pools],
        "checks": [
            {
                "target": check.target.text,
                **_range(check.value, check.low, check.high),
                "limit_s": check.target.limit_s,
                "met": check.met,
            }
            for check in choice.checks
        ],
        "fewer": [{"replicas": list(each.replicas), "missed": each.missed} for each in choice.fewer],
        "metrics": [
            {"name": name, **_range(metric.value, metric.low, metric.high), "unit": metric.unit}
            for name, metric in choice.metrics.items()
        ],
        "why": list(choice.why),
        "notes": list(choice.notes),
    }


def _pool(pool: PoolPlan) -> Row:
    return {
        "role": pool.role.value,
        "chip": pool.chip,
        "engine": pool.engine,
        **{way: getattr(pool.parallel, way) for way in _WAYS},
        "max_num_seqs": pool.max_num_seqs,
        "max_num_batched_tokens": pool.max_num_batched_tokens,
    }


def _candidate(record: Record) -> Row:
    return {
        **{name: getattr(record, name) for name in ("label", "rate_factor", "seed", "infeasible", "key")},
        "replicas": list(record.replicas),
        "values": [
            {"name": name, **_range(value, record.low.get(name), record.high.get(name))}
            for name, value in record.values.items()
        ],
    }


def _rejected(rejected: Rejected) -> Row:
    example = rejected.example
    return {
        **{name: getattr(rejected, name) for name in ("stage", "family", "reason", "count")},
        "example": example.label if example is not None else None,
        **_problem(rejected.problem),
    }


def _bound(bound: LowerBound) -> Row:
    return {
        **{name: getattr(bound, name) for name in BOUNDS if not name.endswith("_dtype")},
        "weight_dtype": bound.precision.weights,
        "kv_dtype": bound.precision.kv,
    }


def _answer(result: PlanResult) -> Row:
    return {
        "feasible": result.infeasible is None,
        "candidates": result.candidates,
        "simulated": result.simulated,
        **asdict(result.load),
        **_problem(result.infeasible),
        "notes": list(result.notes),
    }


def _problem(problem: Infeasible | None) -> Row:
    if problem is None:
        return dict.fromkeys(_PROBLEM)
    return {"problem": problem.reason, "need": problem.need, "have": problem.have, "need_unit": problem.unit}


def _range(value: float, low: float | None, high: float | None) -> Row:
    return {"value": _known(value), "low": _known(low), "high": _known(high)}


def _known(value: float | None) -> float | None:
    """A number as Python's own; None for one that is not known."""
    return None if value is None or math.isnan(value) else float(value)
