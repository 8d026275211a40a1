"""A plan as stable JSON: base units, nothing rounded (docs/reference/json.md)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tokenroof.deploy.core import Infeasible
from tokenroof.report.json import plain
from tokenroof.report.plan_labels import OBJECTIVE_LABELS, OBJECTIVE_UNITS, family
from tokenroof.search.asked import Question, Target
from tokenroof.search.core import Candidate, Check, Choice, LowerBound, PlanResult, Rejected

SCHEMA = "tokenroof-plan/1"


def document(found: PlanResult, *, answers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The whole answer as plain values.

    Parameters
    ----------
    found : PlanResult
        What was found.
    answers : mapping of str to plain values, optional
        Further answers by name, as they describe themselves.

    Returns
    -------
    dict
        As docs/reference/json.md says.
    """
    choices = (*found.front, *found.others)
    metrics = {name: metric for each in reversed(choices) for name, metric in each.metrics.items()}
    return {
        "schema": SCHEMA,
        "definitions": {
            name: {"unit": metric.unit, "definition": metric.definition} for name, metric in metrics.items()
        },
        "objectives": {
            name: {"unit": OBJECTIVE_UNITS[name], "definition": label}
            for name, label in OBJECTIVE_LABELS.items()
        },
        "question": _question(found.question),
        "load": dataclasses.asdict(found.load),
        "feasible": found.infeasible is None,
        "infeasible": _infeasible(found.infeasible),
        "front": [choice_document(each) for each in found.front],
        "others": [choice_document(each) for each in found.others],
        "bounds": [_bound(each) for each in found.bounds],
        "candidates": found.candidates,
        "simulated": found.simulated,
        "rejected": [_rejected(each) for each in found.rejected],
        "answers": dict(answers or {}),
        "notes": list(found.notes),
    }


def dumps(found: PlanResult, *, answers: Mapping[str, Any] | None = None) -> str:
    """``document`` as text, indented, in a fixed order; a number that is not finite reads null."""
    text = plain(document(found, answers=answers))
    return json.dumps(text, indent=2, ensure_ascii=False, allow_nan=False)


def choice_document(choice: Choice) -> dict[str, Any]:
    """One deployment that keeps the targets, as plain values."""
    return {
        "label": choice.candidate.label,
        "family": family(choice),
        "chips": choice.chips,
        "nodes": choice.nodes,
        "racks": choice.racks,
        "bound_chips": choice.bound_chips,
        "facility_w": choice.facility_w,
        "usd_per_hour": choice.usd_per_hour,
        **_candidate(choice.candidate, choice),
        "objectives": dict(choice.objectives),
        "targets": [_check(each) for each in choice.checks],
        "fewer": [
            {
                "replicas": list(each.replicas),
                "missed": each.missed,
                "targets": [_check(check) for check in each.checks],
            }
            for each in choice.fewer
        ],
        "metrics": {
            name: {"value": metric.value, "unit": metric.unit, "low": metric.low, "high": metric.high}
            for name, metric in choice.metrics.items()
        },
        "why": list(choice.why),
        "notes": list(choice.notes),
    }


def _candidate(candidate: Candidate, choice: Choice | None = None) -> dict[str, Any]:
    """Formats, pools and what is switched on; with replicas where they are known."""
    pools: list[dict[str, Any]] = [
        {
            "role": pool.role.value,
            "chip": pool.chip,
            "engine": pool.engine,
            "parallel": dataclasses.asdict(pool.parallel),
            "max_num_seqs": pool.max_num_seqs,
            "max_num_batched_tokens": pool.max_num_batched_tokens,
        }
        for pool in candidate.pools
    ]
    if choice is not None:
        for pool, replicas, needed in zip(pools, choice.replicas, choice.needed, strict=True):
            pool |= {"replicas": replicas, "needed_replicas": needed}
    drafting = candidate.drafting
    return {
        "precision": {
            **dataclasses.asdict(candidate.precision),
            "expert_activations": candidate.precision.expert_inputs,
        },
        "pools": pools,
        "drafting": None
        if drafting is None
        else {
            "method": type(drafting).__name__,
            "draft_tokens": drafting.draft_tokens,
            "acceptance_fraction": drafting.acceptance_fraction,
        },
        "prefix_caching": candidate.prefix_caching,
        "offload": [type(place).__name__ for place in candidate.offload],
    }


def _question(question: Question) -> dict[str, Any]:
    space = question.space
    return {
        "model": question.model.name,
        "chips": [chip.name for chip in question.chips],
        "engines": [engine.name for engine in space.engines],
        "colocated": space.colocated,
        "disaggregated": space.disaggregated,
        "mixed_chips": space.mixed_chips,
        "targets": [_target(each) for each in question.targets],
        "limits": dataclasses.asdict(question.limits),
        "objectives": [dataclasses.asdict(each) for each in question.objectives],
        "headroom_fraction": question.headroom_fraction,
        "spare_replicas": question.spare_replicas,
        "spending": dataclasses.asdict(question.spending),
        "seed": question.seed,
        "confirm_seeds": question.confirm_seeds,
        "most_simulated": question.most_simulated,
        "most_chips_per_replica": space.most_chips_per_replica,
    }


def _target(target: Target) -> dict[str, Any]:
    return {"name": target.name, "text": target.text, **dataclasses.asdict(target)}


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.target.name,
        "limit_s": check.target.limit_s,
        "value_s": check.value,
        "low_s": check.low,
        "high_s": check.high,
        "met": check.met,
    }


def _bound(bound: LowerBound) -> dict[str, Any]:
    return {
        "chip": bound.chip,
        "weights": bound.precision.weights,
        "kv": bound.precision.kv,
        "chips": bound.chips,
        "memory_chips": bound.memory_chips,
        "compute_chips": bound.compute_chips,
        "bandwidth_chips": bound.bandwidth_chips,
        "binding": bound.binding,
    }


def _rejected(row: Rejected) -> dict[str, Any]:
    return {
        "stage": row.stage,
        "family": row.family,
        "reason": row.reason,
        "count": row.count,
        "problem": _infeasible(row.problem),
        "example": None if row.example is None else {"label": row.example.label, **_candidate(row.example)},
    }


def _infeasible(problem: Infeasible | None) -> dict[str, Any] | None:
    return None if problem is None else dataclasses.asdict(problem)
