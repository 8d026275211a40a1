"""What is chosen when the user does not say: the sharding, and how many sequences run at once."""

from __future__ import annotations

from collections.abc import Iterator

from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.capacity import capacity, memory_problem
from tokenroof.deploy.core import Pool
from tokenroof.deploy.legality import domain_size, layout_problem
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

DEFAULT_CONCURRENCY = 64
"""Sequences per replica when none are asked for; fewer when the cache holds fewer."""

WANTED_SEQUENCES = 16
"""Sequences that a default sharding should be able to hold."""


def sizes(chip: Chip) -> Iterator[int]:
    """Powers of two up to the scale-up domain, then the domain itself."""
    domain = domain_size(chip)
    size = 1
    while size < domain:
        yield size
        size *= 2
    yield domain


def default_parallel(
    chip: Chip, engine: Engine, model: ModelSpec, precision: Precision, shape: RequestShape
) -> Parallel:
    """Tensor parallelism over the fewest chips that hold the model and a working set of sequences.

    The smallest legal power of two (up to the scale-up domain) whose cache holds 16 sequences of the
    asked lengths; else the smallest that holds at least one; else pipeline stages of the largest
    legal tensor parallel group until it fits, up to 64 stages; else the largest group, which the
    estimate then reports as infeasible.
    """
    legal = [
        pool
        for pool in (Pool(chip=chip, engine=engine, parallel=Parallel(tp=size)) for size in sizes(chip))
        if layout_problem(pool, model, precision) is None
    ]
    holding = [(capacity(pool, model, precision, shape).max_batch, pool.parallel) for pool in legal]
    for wanted in (WANTED_SEQUENCES, 1):
        for held, parallel in holding:
            if held >= wanted:
                return parallel
    largest = legal[-1].parallel if legal else Parallel()
    if chip.scale_out is not None:
        for stages in (2, 4, 8, 16, 32, 64):
            staged = Parallel(tp=largest.tp, pp=stages)
            pool = Pool(chip=chip, engine=engine, parallel=staged)
            if layout_problem(pool, model, precision) is None and fits(pool, model, precision, shape):
                return staged
    return largest


def fits(pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape) -> bool:
    """Whether the weights and one sequence fit."""
    return memory_problem(pool, model, precision, shape) is None


def default_concurrency(held: int, engine: Engine, ranks: int) -> int:
    """Sequences of one replica when none are asked for: 64, or what the cache or the engine allows."""
    return max(1, min(DEFAULT_CONCURRENCY, held, engine.max_num_seqs * ranks))


def nearest_fit(pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape) -> str:
    """The nearest change that makes a model fit, as the end of a sentence."""
    found = default_parallel(pool.chip, pool.engine, model, precision, shape)
    better = Pool(chip=pool.chip, engine=pool.engine, parallel=found)
    if found != pool.parallel and fits(better, model, precision, shape):
        return f"Try {_spell(found)}, or narrower weights."
    return "Try narrower weights, a shorter context, or a chip with more memory."


def _spell(parallel: Parallel) -> str:
    parts = [f"tp={parallel.tp}"] + ([f"pp={parallel.pp}"] if parallel.pp > 1 else [])
    return ", ".join(parts)
