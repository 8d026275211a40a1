"""Estimates as stable JSON: base units, every metric with unit and definition (docs/reference/json.md)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tokenroof.deploy.core import Capacity, Estimate, Phase, Pool
from tokenroof.report.labels import metric_ids, num_chips, short_names

SCHEMA = "tokenroof-estimate/1"


def document(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """The whole answer as plain values.

    Returns
    -------
    dict
        ``schema``, ``definitions`` (unit and text by metric) and ``estimates``.
    """
    metrics = {key: e.metrics[key] for e in reversed(estimates) for key in e.metrics}
    return {
        "schema": SCHEMA,
        "definitions": {
            key: {"unit": metrics[key].unit, "definition": metrics[key].definition}
            for key in metric_ids(estimates)
        },
        "estimates": [
            estimate_document(n, e) for n, e in zip(short_names(estimates), estimates, strict=True)
        ],
    }


def dumps(estimates: Sequence[Estimate]) -> str:
    """``document`` as text, indented, in a fixed order; a number that is not finite reads null."""
    return json.dumps(plain(document(estimates)), indent=2, ensure_ascii=False, allow_nan=False)


def estimate_document(label: str, estimate: Estimate) -> dict[str, Any]:
    """One estimate as plain values."""
    deployment = estimate.deployment
    return {
        "label": label,
        "model": deployment.model.name,
        "precision": {
            **dataclasses.asdict(deployment.precision),
            "expert_activations": deployment.precision.expert_inputs,
        },
        "num_chips": num_chips(estimate),
        "pools": [_pool(pool) for pool in deployment.pools],
        "workload": dataclasses.asdict(estimate.shape) | {"concurrency": estimate.concurrency},
        "run": _run(estimate),
        "feasible": estimate.feasible,
        "infeasible": dataclasses.asdict(estimate.infeasible) if estimate.infeasible else None,
        "metrics": {
            key: {"value": metric.value, "unit": metric.unit, "low": metric.low, "high": metric.high}
            for key, metric in estimate.metrics.items()
        },
        "phases": {name: _phase(phase) for name, phase in estimate.phases.items()},
        "capacity": _capacity(estimate.capacity) if estimate.capacity else None,
        "evidence": estimate.evidence or None,
        "assumptions": list(estimate.assumptions),
        "sources": list(estimate.sources),
    }


def _run(estimate: Estimate) -> dict[str, Any] | None:
    """What was simulated; None in closed form. The requests themselves are in the log."""
    run = estimate.run
    if run is None:
        return None
    requests = run.requests
    return {
        "label": requests.label,
        "source": requests.source,
        "requests": len(requests),
        "concurrency": requests.concurrency,
        "complete": run.complete,
        "end_s": run.end_s,
        "events": run.events,
        "seed": run.setup.seed,
        "classes": [dataclasses.asdict(kind) for kind in requests.classes],
    }


def _pool(pool: Pool) -> dict[str, Any]:
    return {
        "role": str(pool.role),
        "chip": pool.chip.name,
        "projection": pool.chip.projection,
        "engine": pool.engine.name,
        "parallel": dataclasses.asdict(pool.parallel),
        "replicas": pool.replicas,
    }


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "time_s": phase.time_s,
        "limit": phase.limit,
        "by_limit_s": dict(phase.by_limit_s),
        "mfu_fraction": phase.mfu_fraction,
        "mbu_fraction": phase.mbu_fraction,
        "energy_j": phase.energy_j,
        "operators": [dataclasses.asdict(op) for op in phase.ops],
    }


def _capacity(capacity: Capacity) -> dict[str, Any]:
    return {
        "items": [dataclasses.asdict(item) for item in capacity.items],
        "kv_blocks": capacity.kv_blocks,
        "block_tokens": capacity.block_tokens,
        "kv_bytes_per_token": capacity.kv_bytes_per_token,
        "state_bytes_per_sequence": capacity.state_bytes_per_sequence,
        "max_batch": capacity.max_batch,
    }


def plain(value: Any) -> Any:
    """Plain Python values only: numpy scalars become Python's, what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return number
