"""Runs made by hand, so that what is computed from them can be computed by hand too."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from tokenroof.perf.table import StepTable
from tokenroof.serve.core import PoolSetup, Setup, Stage
from tokenroof.serve.results import SEGMENT, TIMELINE, RequestLog, Run, State
from tokenroof.workload.core import NOBODY, RequestClass, Requests

REPLICA_COLUMNS = (
    "busy_s", "up_s", "steps", "prefill_tokens", "decode_tokens", "prefill_ends", "peak_blocks",
    "taken_blocks", "freed_blocks", "link_busy_s", "slowed_s", "segments",
)  # fmt: skip


class NoRule:
    """A scheduler and a router that never decide anything."""

    def settings(self) -> dict[str, float]:
        return {}


def pool(stage: Stage = Stage.BOTH, **fields: Any) -> PoolSetup:
    """A pool that was never run: it has no table."""
    fields = {"num_blocks": 100, **fields}
    return PoolSetup(table=cast(StepTable, None), scheduler=NoRule(), stage=stage, **fields)


def run_of(
    arrival: Sequence[float],
    start: Sequence[float],
    first: Sequence[float],
    finish: Sequence[float],
    isl: Sequence[int],
    osl: Sequence[int],
    *,
    classes: tuple[RequestClass, ...] = (RequestClass(),),
    pools: tuple[PoolSetup, ...] = (),
    end_s: float | None = None,
    setup: dict[str, Any] | None = None,
    requests: dict[str, Any] | None = None,
    log: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
) -> Run:
    """A consistent run of completed requests on one replica per pool; dicts replace what they name."""
    columns = [np.asarray(column, dtype=np.float64) for column in (arrival, start, first, finish)]
    isl_tokens, osl_tokens = (np.asarray(column, dtype=np.int64) for column in (isl, osl))
    count = columns[0].size
    none, zero = np.full(count, NOBODY), np.zeros(count, dtype=np.int64)
    asked = {
        "arrival_s": columns[0].copy(), "isl_tokens": isl_tokens, "osl_tokens": osl_tokens, "follows": none,
        "session": none, "class_index": zero, "classes": classes, **(requests or {}),
    }  # fmt: skip
    pools = pools or (pool(),)
    table = Requests(**asked)
    logged = {
        "arrival_s": columns[0], "start_s": columns[1], "first_s": columns[2], "finish_s": columns[3],
        "transfer_s": np.full(count, np.nan), "isl_tokens": isl_tokens, "osl_tokens": osl_tokens,
        "out_tokens": osl_tokens.copy(), "cached_tokens": zero, "prefilled_tokens": isl_tokens.copy(),
        "state": np.full(count, int(State.COMPLETED)), "reason": zero, "replica": zero,
        "decode_replica": np.full(count, len(pools) - 1), "preemptions": zero, "retries": zero,
        "class_index": table.class_index, "session": table.session,
    }  # fmt: skip
    unknown = set(log or {}) - set(logged)
    assert not unknown, unknown
    logged.update({name: np.asarray(column) for name, column in (log or {}).items()})
    end = float(np.nanmax(columns[3])) if end_s is None else end_s
    prefilled = float(logged["prefilled_tokens"].sum())
    first_tokens = np.count_nonzero(logged["out_tokens"] > 0)
    decoded = float(logged["out_tokens"].sum() - first_tokens)
    replicas = {name: np.zeros(len(pools)) for name in REPLICA_COLUMNS}
    replicas["pool"] = np.arange(len(pools), dtype=np.float64)
    replicas["up_s"][:] = end
    replicas["busy_s"][:] = 0.5 * end
    replicas["prefill_tokens"][0], replicas["decode_tokens"][-1] = prefilled, decoded
    replicas["prefill_ends"][0] = first_tokens
    for name in ("peak_blocks", "taken_blocks", "freed_blocks"):
        replicas[name][:] = 10.0
    timeline = np.zeros((len(pools), len(TIMELINE), 4))
    timeline[:, TIMELINE.index("up_replicas")] = 1.0
    timeline[:, TIMELINE.index("busy_replicas")] = 0.5
    timeline[0, TIMELINE.index("prefill_tokens")] = prefilled / 4.0
    timeline[-1, TIMELINE.index("decode_tokens")] = decoded / 4.0
    gaps = np.zeros((len(pools), 2048))
    gaps[-1, 900] = decoded
    fields: dict[str, Any] = {
        "setup": Setup(pools=pools, router=NoRule(), **(setup or {})), "requests": table,
        "log": RequestLog(**logged), "end_s": end, "complete": True, "timeline_bin_s": end / 4.0,
        "timeline": timeline, "itl_counts": gaps, "visits": tuple(np.zeros(0) for _ in pools),
        "replicas": replicas, "tiers": {}, "segments": np.zeros(0, dtype=SEGMENT), "events": 1, **(run or {}),
    }  # fmt: skip
    return Run(**fields)


def three(**changes: Any) -> Run:
    """Three requests in 10 s: 10, 20 and 30 prompt tokens, 5, 3 and 1 output tokens."""
    return run_of(
        [0.0, 1.0, 2.0],
        [0.0, 2.0, 4.0],
        [1.0, 4.0, 10.0],
        [5.0, 9.0, 10.0],
        [10, 20, 30],
        [5, 3, 1],
        **changes,
    )


def changed(run: Run, *, log: dict[str, Any] | None = None, **fields: Any) -> Run:
    """The run with columns of its log and fields of its own replaced."""
    columns = {name: np.asarray(column) for name, column in (log or {}).items()}
    return dataclasses.replace(run, log=dataclasses.replace(run.log, **columns), **fields)
