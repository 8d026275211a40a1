"""From a setup and requests to the arrays that the event kernel works on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.perf.flat import FlatLayout, flat_layout, flat_times
from tokenroof.perf.table import StepTable
from tokenroof.serve.arrays import (
    GLOBAL,
    ID_BITS,
    ITL_BINS,
    LISTS,
    NONE,
    OFF,
    POOL,
    REPLICA,
    REQUEST,
    SPARE,
    TIME_BINS,
    UP,
    World,
)
from tokenroof.serve.core import PoolSetup, Setup, Stage
from tokenroof.serve.fleet_plan import check_fleet, fill_fleet, incident_rows, most_replicas, spares_of
from tokenroof.serve.jit import jit
from tokenroof.serve.prefix import make_prefix
from tokenroof.serve.results import SEGMENT
from tokenroof.serve.speculation import steps_of
from tokenroof.serve.steptime import CONTEXT_SHIFT, FEATURES, MOST_GUESSES
from tokenroof.workload.core import Requests

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_LEAST_BIN_S = 1e-3


def check_setup(setup: Setup) -> None:
    """Refuse what cannot serve.

    Raises
    ------
    InputError
        No pools, stages that do not go together, no replicas, no blocks, a missing link, and the like.
    """
    stages = {pool.stage for pool in setup.pools}
    if stages not in ({Stage.BOTH}, {Stage.PREFILL, Stage.DECODE}):
        found = ", ".join(sorted(stage.name.lower() for stage in stages)) or "none"
        raise InputError(f"pools must do both, or prefill and decode apart; got {found}.")
    for number, pool in enumerate(setup.pools):
        where = f"pool {number}"
        if pool.replicas < 1:
            raise InputError(f"replicas must be at least 1, got {pool.replicas} in {where}.")
        if pool.num_blocks < 1 or pool.block_tokens < 1:
            raise InputError(f"num_blocks and block_tokens must be at least 1 in {where}.")
        if pool.stage is not Stage.BOTH and pool.link is None:
            raise InputError(f"{where} hands caches over, but has no link.")
        query = 1 if pool.speculation is None else 1 + pool.speculation.draft_tokens
        if pool.table.subject.decode_tokens != query:
            raise InputError(
                f"{where} verifies {query} tokens per step, its table was compiled for "
                f"{pool.table.subject.decode_tokens}."
            )
    check_fleet(setup)


def make_world(setup: Setup, requests: Requests) -> tuple[World, tuple[FlatLayout, ...]]:
    """Empty replicas, and requests that have not been sent.

    Returns
    -------
    World
        Arrays for :func:`tokenroof.serve.kernel.advance`.
    tuple of FlatLayout
        Where each pool's times lie in its part of ``World.table``, pool after pool.

    Raises
    ------
    InputError
        See :func:`check_setup`; more than 2**28 requests.
    """
    check_setup(setup)
    count = len(requests)
    if count >= 1 << ID_BITS:
        raise InputError(f"at most {(1 << ID_BITS) - 1:,} requests fit one run, got {count:,}.")
    totals = [most_replicas(setup, index) for index in range(len(setup.pools))]
    pools, rows = np.zeros(len(setup.pools), POOL), _Rows()
    for index, pool in enumerate(setup.pools):
        _fill_pool(pools[index], pool, requests, rows)
        pools[index]["first"], pools[index]["count"] = sum(totals[:index]), totals[index]
    fill_fleet(pools, setup)
    replicas = sum(totals)
    if not any(pool.speculation for pool in setup.pools):
        steps: Any = requests.osl_tokens - 1
    else:
        last = next(pool for pool in setup.pools if pool.speculation)
        steps = steps_of(requests.osl_tokens, last.speculation, np.random.default_rng(setup.seed))
    heads = np.flatnonzero(requests.follows == NONE)
    world = World(
        g=_global(setup, requests, heads),
        pool=pools,
        rep=_replicas(setup, totals),
        req=_requests(requests, steps),
        lane=np.stack(rows.lanes),
        table=np.concatenate(rows.table),
        visit=np.zeros(sum(part.size for part in rows.table)),
        knots=np.concatenate(rows.knots),
        base=_padded(rows.base),
        row=_padded(rows.row).astype(np.int64),
        decode_visits=np.zeros((len(pools), max(line.size for line in rows.base)), np.int64),
        lists=np.concatenate(
            (np.full((replicas, LISTS, 2), NONE, np.int64), np.zeros((replicas, LISTS, 1), np.int64)), axis=2
        ),
        finish=np.zeros((replicas, int(pools["max_seqs"].max()) + 2), np.int64),
        phase=np.zeros((replicas, int(pools["block_tokens"].max())), np.int64),
        clock=np.zeros(replicas, np.int64),
        event_t=np.zeros(_events(setup, requests, replicas)),
        event_k=np.zeros(_events(setup, requests, replicas), np.int64),
        heads=heads,
        done=np.zeros(count, np.int64),
        dirty=np.zeros(replicas, np.int64),
        incident=incident_rows(setup, pools),
        sticky=np.full(int(requests.session.max()) + 1 if count else 0, NONE, np.int64),
        timeline=np.zeros((len(pools), 8, TIME_BINS)),
        itl=np.zeros((len(pools), ITL_BINS)),
        segment=np.zeros(setup.record_segments, SEGMENT),
        prefix=make_prefix(
            requests,
            replicas,
            setup.pools[0].tiers,
            int(pools[0]["unit_blocks"]),
            setup.pools[0].block_bytes,
            bool(pools["prefix"].any()),
        ),
    )
    return world, tuple(rows.layouts)


class _Rows:
    """What pools add to arrays that all pools share."""

    def __init__(self) -> None:
        self.lanes: list[IntArray] = []
        self.table: list[FloatArray] = []
        self.knots: list[IntArray] = []
        self.base: list[FloatArray] = []
        self.row: list[IntArray] = []
        self.layouts: list[FlatLayout] = []

    def knots_at(self, knots: IntArray) -> int:
        """Where ``knots`` begin in the shared array."""
        at = sum(part.size for part in self.knots)
        self.knots.append(np.asarray(knots, dtype=np.int64))
        return at


def _fill_pool(record: Any, pool: PoolSetup, requests: Requests, rows: _Rows) -> None:
    parallel = pool.table.subject.parallel
    for name, value in pool.scheduler.settings().items():
        record[name] = value
    record["stage"] = pool.stage
    # Not across pipeline stages: vLLM 0.15 and SGLang turn it off, TensorRT-LLM has another loop for them.
    record["ahead"] = record["ahead"] and parallel.pp == 1
    # A micro-batch counts as a step. Who is handed over was received long before its cache is there.
    polls = pool.stage is not Stage.DECODE
    record["poll_steps"] = max(1, -(-int(record["poll_steps"]) // parallel.pp)) if polls else 1
    record["blind"] = record["ahead"] or record["poll_steps"] > 1
    record["dp"], record["cp"], record["pp"] = parallel.dp, parallel.cp, parallel.pp
    # Limits are those of one rank's engine; a prompt stays on its rank, micro-batches have their own steps.
    record["max_seqs"] *= parallel.dp
    record["budget"] *= parallel.dp * parallel.pp
    record["prefill_budget"] *= parallel.dp * parallel.pp
    record["num_blocks"], record["block_tokens"] = pool.num_blocks, pool.block_tokens
    power = pool.block_tokens.bit_length() - 1
    record["block_shift"] = power if 1 << power == pool.block_tokens else -1
    record["fixed_blocks"] = pool.blocks_per_sequence
    record["query_tokens"] = pool.table.subject.decode_tokens
    record["speculative"] = pool.speculation is not None
    record["overhead_s"] = pool.table.overhead_s
    record["draft_s"] = 0.0 if pool.speculation is None else pool.speculation.draft_step_s
    record["start_up_s"] = pool.start_up_s
    if requests.prefixes is not None:
        # Only whole blocks of an engine are shared; a smaller unit takes the block it is in.
        record["prefix"] = pool.prefix_caching and pool.stage is not Stage.DECODE
        record["unit_tokens"] = requests.prefixes.block_tokens
        record["unit_blocks"] = -(-requests.prefixes.block_tokens // pool.block_tokens)
    if pool.link is not None:
        record["link_bytes_per_s"], record["link_latency_s"] = pool.link.bytes_per_s, pool.link.latency_s
        record["token_bytes"], record["sequence_bytes"] = (
            pool.link.bytes_per_token,
            pool.link.bytes_per_sequence,
        )
        record["overlap"] = pool.link.overlap_fraction
    _lay_out(record, pool, rows)


def _lay_out(record: Any, pool: PoolSetup, rows: _Rows) -> None:
    """Put the pool's step table into the shared arrays."""
    table = pool.table
    most = int(record["max_seqs"])
    layout = flat_layout(table, max(1, -(-most // int(record["dp"]))))
    start = sum(part.size for part in rows.table)
    lanes = np.full((len(FEATURES), 5), NONE, np.int64)
    for lane, where in zip(table.lanes, layout.lanes, strict=True):
        lanes[FEATURES.index(lane.feature)] = (
            start + where.dense_offset,
            where.dense_size,
            start + where.tail_offset,
            rows.knots_at(lane.tail),
            where.tail_size,
        )
    record["decode_at"], record["contexts"] = start + layout.decode_offset, layout.decode_columns
    record["contexts_at"] = rows.knots_at(table.contexts)
    blocks = np.arange(min(MOST_GUESSES, int(table.contexts[-1]) >> CONTEXT_SHIFT)) << CONTEXT_SHIFT
    record["guesses"] = blocks.size
    below = np.searchsorted(table.contexts, blocks, side="right") - 1
    record["guess_at"] = rows.knots_at(np.clip(below, 0, table.contexts.size - 2))
    record["prefill_at"] = start + layout.prefill_offset
    for name, knots in (("chunk", table.chunks), ("new", table.new), ("past", table.past)):
        record[f"{name}_knots"], record[f"{name}_knots_at"] = knots.size, rows.knots_at(knots)
    seqs = np.arange(most + 1)
    micro = -(-seqs // np.maximum(np.minimum(seqs, record["pp"]), 1))
    rank = -(-micro // int(record["dp"]))
    rows.lanes.append(lanes)
    rows.table.append(flat_times(table, layout))
    rows.base.append(record["draft_s"] + base_s(table, micro, pool.graph_sizes))
    rows.row.append(rank)
    rows.layouts.append(layout)


def padded(seqs: IntArray, graph_sizes: tuple[int, ...]) -> IntArray:
    """Sequences that a captured graph is run for: the next size up; more than the largest run as they are."""
    if not graph_sizes:
        return seqs
    sizes = np.array(sorted(graph_sizes), dtype=np.int64)
    at = np.minimum(np.searchsorted(sizes, seqs), sizes.size - 1)
    return np.where((seqs > 0) & (seqs <= sizes[-1]), sizes[at], seqs)


def lane_counts(table: StepTable, micro: IntArray, graph_sizes: tuple[int, ...]) -> dict[str, IntArray]:
    """What every lane counts in a decode step of ``micro`` sequences."""
    query, dp = table.subject.decode_tokens, table.subject.parallel.dp
    rank = -(-micro // dp)
    run = padded(rank, graph_sizes)
    whole = np.where(run == rank, micro, run * dp)
    none = np.zeros_like(micro)
    return {
        "tokens": run * query,
        "whole_tokens": whole * query,
        "logits": rank * query,
        "decode_seqs": rank,
        "prefill_tokens": none,
        "prefill_keys": none,
        "image_tokens": none,
    }


def base_s(table: StepTable, micro: IntArray, graph_sizes: tuple[int, ...]) -> FloatArray:
    """Time of a decode step without its attention, by sequences of a micro-batch. [s]"""
    counts = lane_counts(table, micro, graph_sizes)
    total = sum((lane.at(counts[lane.feature])[0] for lane in table.lanes), np.zeros(micro.size))
    return np.where(micro > 0, total + table.overhead_s, 0.0)


def _padded(lines: list[FloatArray] | list[IntArray]) -> Any:
    """Lines of different lengths as one array, the rest zero."""
    out = np.zeros((len(lines), max(line.size for line in lines)))
    for number, line in enumerate(lines):
        out[number, : line.size] = line
    return out


def _requests(requests: Requests, steps: IntArray) -> npt.NDArray[np.void]:
    rows = np.empty(len(requests), REQUEST)
    levels = np.array([kind.priority for kind in requests.classes], dtype=np.int64)
    columns = (
        requests.arrival_s,
        requests.isl_tokens,
        requests.osl_tokens,
        requests.follows,
        requests.session,
        requests.class_index,
    )
    _fill_requests(rows, *columns, steps, levels)
    return rows


@jit
def _fill_requests(
    rows: Any,
    arrival_s: FloatArray,
    isl: IntArray,
    osl: IntArray,
    follows: IntArray,
    session: IntArray,
    class_index: IntArray,
    steps: IntArray,
    levels: IntArray,
) -> None:
    """All fields of all rows in one pass: they are many, and lie side by side."""
    for i in range(rows.size):
        row = rows[i]
        row["arrival_s"] = arrival_s[i]
        row["start_s"] = row["first_s"] = row["finish_s"] = row["transfer_s"] = np.nan
        row["last_s"] = row["here_s"] = 0.0
        row["join_step"] = row["prefilled"] = 0
        row["isl"] = row["target"] = isl[i]
        row["osl"], row["steps"] = osl[i], steps[i]
        row["made"] = row["past"] = row["chunk"] = row["cached"] = row["blocks"] = row["units"] = 0
        row["before"] = row["after"] = row["follower"] = row["replica"] = row["home"] = NONE
        row["prefiller"] = NONE
        row["level"], row["class_index"] = levels[class_index[i]], class_index[i]
        row["session"] = session[i]
        row["preemptions"] = row["retries"] = row["reason"] = row["state"] = 0
    for i in range(rows.size):
        if follows[i] >= 0:
            rows[follows[i]]["follower"] = i


def _replicas(setup: Setup, totals: list[int]) -> npt.NDArray[np.void]:
    rows = np.zeros(sum(totals), REPLICA)
    at = 0
    for index, pool in enumerate(setup.pools):
        mine = rows[at : at + totals[index]]
        spares = spares_of(setup, index)
        mine["pool"], mine["status"] = index, OFF
        mine["status"][: pool.replicas] = UP
        if spares:
            mine["status"][-spares:] = SPARE
        mine["ratio"] = pool.scheduler.settings().get("ratio_start", 0.0)
        at += totals[index]
    rows["slow"] = rows["pace"] = 1.0
    rows["place"] = NONE
    rows["end_s"] = rows["serves_s"] = np.inf
    rows["decoded_s"] = rows["ended_s"] = -1.0
    rows["known_s"] = np.inf
    return rows


def _global(setup: Setup, requests: Requests, heads: IntArray) -> npt.NDArray[np.void]:
    rows = np.zeros(1, GLOBAL)
    g = rows[0]
    for name, value in setup.router.settings().items():
        g[name] = value
    g["concurrency"] = requests.concurrency or 0
    g["random"] = (0x9E3779B97F4A7C15 * (setup.seed * 2 + 1)) & (2**64 - 1)
    g["crawl"], g["max_retries"], g["takeover_s"] = (
        setup.crawl,
        setup.fleet.max_retries,
        setup.fleet.takeover_s,
    )
    span_s = 0.0 if requests.concurrency else float(requests.arrival_s[heads[-1]])
    g["bin_s"] = max(_LEAST_BIN_S, span_s * 1.02 / TIME_BINS)
    return rows


def _events(setup: Setup, requests: Requests, replicas: int) -> int:
    """Events that can be pending at once."""
    count = len(requests)
    pending = 64 + 8 * replicas + 4 * len(setup.fleet.incidents) * replicas
    pending += min(count, requests.concurrency or 0)
    if np.any(requests.follows != NONE):
        pending += count
    if len(setup.pools) > 1 or any(pool.tiers for pool in setup.pools):
        pending += count
    return pending
