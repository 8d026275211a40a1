"""A replica whose steps take round times, so that schedules of batching rules can be worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st

from tokenroof.graph.core import Parallel
from tokenroof.perf.compile import Samples, Subject
from tokenroof.perf.table import Lane, StepTable
from tokenroof.serve.core import PoolSetup, Scheduler, Setup
from tokenroof.serve.invariants import check
from tokenroof.serve.results import Run
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.run import simulate
from tokenroof.workload.core import NOBODY, Prefixes, RequestClass, Requests

STEP_S, PROMPT_TOKEN_S, CONTEXT_TOKEN_S = 1.0, 0.01, 1e-4

Segment = tuple[int, int, int, int]
"""Decode steps, decoding sequences, prompts, prompt tokens."""


def _samples(time_s: Any) -> Samples:
    time_s = np.asarray(time_s, dtype=np.float64)
    return Samples(time_s, np.zeros_like(time_s), np.zeros_like(time_s))


def _lane(feature: str, time_s: Any, slope_s: float) -> Lane:
    dense = np.asarray(time_s, dtype=np.float64)
    tail = np.array([dense.size - 1, dense.size + 99])
    return Lane(
        feature=feature,
        dense=_samples(dense),
        tail=tail,
        tail_samples=_samples([dense[-1], dense[-1] + 100 * slope_s]),
    )


@lru_cache
def table(decode_tokens: int = 1) -> StepTable:
    """A step takes 1 s, 10 ms more per prompt token, 0.1 ms more per cached token of a decoding sequence."""
    seqs, contexts = np.array([1, 2, 1024]), np.array([0, 64, 100, 200, 100_000])
    decode = CONTEXT_TOKEN_S * seqs[:, None] * contexts[None, :].astype(np.float64)
    chunks, new, past = np.array([1, 2, 64]), np.array([1, 16, 1024]), np.array([0, 16, 1024])
    subject = SimpleNamespace(
        parallel=Parallel(), decode_tokens=decode_tokens, machine=SimpleNamespace(step_overhead_s=0.0)
    )
    return StepTable(
        subject=cast(Subject, subject),
        lanes=(
            _lane("tokens", [0.0] + [STEP_S] * 8, 0.0),
            _lane("prefill_tokens", PROMPT_TOKEN_S * np.arange(64), PROMPT_TOKEN_S),
        ),
        seqs=seqs,
        contexts=contexts,
        decode=_samples(decode),
        decode_sum_s=np.zeros_like(decode),
        chunks=chunks,
        new=new,
        past=past,
        prefill=_samples(np.zeros((3, 3, 3))),
        efficiencies=(),
    )


def requests(
    arrival_s: Sequence[float],
    isl: Sequence[int],
    osl: Sequence[int],
    *,
    levels: Sequence[int] | None = None,
    units: Sequence[Sequence[int]] | None = None,
    unit_tokens: int = 4,
) -> Requests:
    """One after another in time; ``units``: what each prompt begins with."""
    count = len(arrival_s)
    none = np.full(count, NOBODY)
    kinds = tuple(RequestClass(name=str(level), priority=level) for level in range(8))
    prefixes = None
    if units is not None:
        start = np.concatenate(([0], np.cumsum([len(mine) for mine in units])))
        flat = np.array([unit for mine in units for unit in mine], dtype=np.int64)
        prefixes = Prefixes(block_tokens=unit_tokens, start=start, ids=flat)
    return Requests(
        arrival_s=np.array(arrival_s, dtype=np.float64),
        isl_tokens=np.array(isl, dtype=np.int64),
        osl_tokens=np.array(osl, dtype=np.int64),
        follows=none,
        session=none,
        class_index=np.array(levels or [0] * count, dtype=np.int64),
        classes=kinds,
        prefixes=prefixes,
    )


def serve(
    rule: Scheduler, asked: Requests, *, num_blocks: int = 1000, crawl: bool = False, **pool: Any
) -> Run:
    """One replica with blocks of one token, unless told otherwise; every invariant is checked."""
    fields: dict[str, Any] = {"block_tokens": 1, "prefix_caching": asked.prefixes is not None, **pool}
    only = PoolSetup(table=table(), scheduler=rule, num_blocks=num_blocks, **fields)
    run = simulate(
        Setup(pools=(only,), router=LeastLoaded(), crawl=crawl, record_segments=20_000),
        asked,
    )
    broken = check(run)
    assert broken == (), broken
    return run


def steps(run: Run) -> list[Segment]:
    """What the replica did, stretch after stretch."""
    names = ("steps", "decode_seqs", "prefill_seqs", "prefill_tokens")
    return [cast(Segment, tuple(int(row[name]) for name in names)) for row in run.segments]


@st.composite
def workloads(draw: st.DrawFn, *, shared: bool = True) -> Requests:
    """Few requests close together, of mixed lengths and priorities, some with the same beginning."""
    count = draw(st.integers(1, 12))
    gaps = draw(st.lists(st.sampled_from([0.0, 0.3, 1.7, 9.0]), min_size=count, max_size=count))
    isl = draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    osl = draw(st.lists(st.integers(1, 30), min_size=count, max_size=count))
    levels = draw(st.lists(st.sampled_from([0, 0, 1]), min_size=count, max_size=count))
    units = None
    if shared and draw(st.booleans()):
        families = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
        firsts = [20 * family for family in families]
        begun = [range(at, at + tokens // 4) for at, tokens in zip(firsts, isl, strict=True)]
        known = {unit: number for number, unit in enumerate(sorted(set().union(*begun)))}
        units = [[known[unit] for unit in mine] for mine in begun]
    return requests(np.cumsum(gaps).tolist(), isl, osl, levels=levels, units=units)


def assert_crawling_is_jumping(rule: Scheduler, asked: Requests, **pool: Any) -> Run:
    """Step by step and event by event: the same decisions in the same order, times equal to rounding."""
    jump, crawl = serve(rule, asked, **pool), serve(rule, asked, crawl=True, **pool)
    names = [field.name for field in dataclasses.fields(jump.log)]
    for name in names:
        one, other = getattr(jump.log, name), getattr(crawl.log, name)
        if name.endswith("_s"):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)
    for name in ("first_s", "finish_s"):
        order = [np.argsort(np.round(getattr(run.log, name), 6), kind="stable") for run in (jump, crawl)]
        np.testing.assert_array_equal(*order)
    for name in ("steps", "prefill_tokens", "decode_tokens", "peak_blocks", "taken_blocks", "freed_blocks"):
        np.testing.assert_array_equal(jump.replicas[name], crawl.replicas[name], err_msg=name)
    np.testing.assert_allclose(jump.replicas["busy_s"], crawl.replicas["busy_s"], rtol=1e-9)
    np.testing.assert_allclose(jump.visits[0], crawl.visits[0], rtol=1e-9, atol=1e-9)
    assert merged(jump) == merged(crawl)
    return jump


def merged(run: Run) -> list[Segment]:
    """Neighbouring stretches of decode steps of equally many sequences as one."""
    out: list[Segment] = []
    for row in steps(run):
        if out and not row[2] and not out[-1][2] and row[1] == out[-1][1]:
            out[-1] = (out[-1][0] + row[0], *out[-1][1:])
        else:
            out.append(row)
    return out
