"""What is chosen when the user does not say: the sharding, and how many sequences run at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.capacity import capacity, memory_problem
from tokenroof.deploy.core import Pool
from tokenroof.deploy.legality import domain_size, layout_problem
from tokenroof.deploy.provenance import Hardware
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

DEFAULT_CONCURRENCY = 64
"""Sequences per replica when none are asked for; fewer when the cache holds fewer."""

WANTED_SEQUENCES = 16
"""Sequences that a default sharding should be able to hold."""

STAGES = (2, 4, 8, 16, 32, 64)
"""Pipeline stages that are tried when one tensor parallel group is too small."""


def sizes(chip: Chip) -> Iterator[int]:
    """Powers of two up to the scale-up domain, then the domain itself."""
    domain = domain_size(chip)
    size = 1
    while size < domain:
        yield size
        size *= 2
    yield domain


def default_parallel(
    chip: Chip,
    engine: Engine,
    model: ModelSpec,
    precision: Precision,
    shape: RequestShape,
    sequences: int | None = None,
) -> Parallel:
    """Tensor parallelism over the fewest chips that hold the model and the asked sequences.

    Parameters
    ----------
    chip, engine, model, precision, shape : Chip, Engine, ModelSpec, Precision, RequestShape
        What runs on what; asked again with the same, the answer comes from memory.
    sequences : int, optional
        Sequences of the asked lengths that one replica is to hold at once.

    Returns
    -------
    Parallel
        The smallest legal power of two (up to the scale-up domain) that holds so many, else pipeline
        stages of the largest legal tensor parallel group, up to 64. When not asked for any, or nothing
        holds so many: the smallest power of two that holds 16, else one sequence; else the fewest
        stages that hold one; else the largest group, which the estimate then reports as infeasible.
    """
    return _fewest(Hardware(chip, engine), model, precision, shape, sequences)


@lru_cache(maxsize=1024)
def _fewest(
    hardware: Hardware,
    model: ModelSpec,
    precision: Precision,
    shape: RequestShape,
    sequences: int | None,
) -> Parallel:
    chip = hardware.chip

    def legal(layouts: Iterable[Parallel]) -> list[tuple[int, Parallel]]:
        """Sequences held, and the layout; 0 where the weights do not fit."""
        pools = (Pool(chip=chip, engine=hardware.engine, parallel=layout) for layout in layouts)
        return [
            (held(pool, model, precision, shape), pool.parallel)
            for pool in pools
            if layout_problem(pool, model, precision) is None
        ]

    flat = legal(Parallel(tp=size) for size in sizes(chip))
    largest = flat[-1][1] if flat else Parallel()
    stages = STAGES if chip.scale_out is not None else ()
    staged = legal(Parallel(tp=largest.tp, pp=count) for count in stages)
    wishes = [(sequences, flat + staged)] if sequences is not None else []
    wishes += [(WANTED_SEQUENCES, flat), (1, flat), (1, staged)]
    found = (layout for wanted, layouts in wishes for most, layout in layouts if most >= wanted)
    return next(found, largest)


def held(pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape) -> int:
    """Sequences that a replica holds; 0 when it does not even hold the weights."""
    return capacity(pool, model, precision, shape).max_batch if fits(pool, model, precision, shape) else 0


def fits(pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape) -> bool:
    """Whether the weights and one sequence fit."""
    return memory_problem(pool, model, precision, shape) is None


def default_concurrency(most: int, engine: Engine, ranks: int) -> int:
    """Sequences of one replica when none are asked for: 64, or what the cache or the engine allows."""
    return max(1, min(DEFAULT_CONCURRENCY, most, engine.max_num_seqs * ranks))


def nearest_fit(pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape) -> str:
    """The nearest change that makes a model fit, as the end of a sentence."""
    found = default_parallel(pool.chip, pool.engine, model, precision, shape)
    better = Pool(chip=pool.chip, engine=pool.engine, parallel=found)
    if found != pool.parallel and fits(better, model, precision, shape):
        return f"Try {_spell(found)}, or narrower weights."
    return "Try narrower weights, a shorter context, or a chip with more memory."


def _spell(parallel: Parallel) -> str:
    """One change, as it is typed: "--tp 8 --pp 2"."""
    return f"--tp {parallel.tp}" + (f" --pp {parallel.pp}" if parallel.pp > 1 else "")
