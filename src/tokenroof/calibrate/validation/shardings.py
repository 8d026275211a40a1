"""The sharding that serves most per chip, where a row does not say how it was sharded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenroof.calibrate.validation.core import UnmappedError
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.model import MlaAttention, ModelSpec, Precision
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.legality import layout_problem
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

_SIZES, _LARGE = (1, 2, 4, 8), (16, 32, 64)
"""Chips of a replica: within a node; across nodes where the model fits no node."""

_BETTER = 1.02
"""A larger replica is taken when it serves more per chip than this: submitters prefer few parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a submitter had.

    Attributes
    ----------
    chip, engine : Chip, Engine
        Kind of chip and what serves on it.
    chips : int
        How many; replicas share them evenly.
    """

    chip: Chip
    engine: Engine
    chips: int


def best_sharding(
    board: Board,
    model: ModelSpec,
    precision: Precision,
    shape: RequestShape,
    *,
    catalog: Catalog,
    tpot_s: float | None = None,
) -> tuple[Pool, str]:
    """Replicas that use every chip, and a note of how they are cut.

    Parameters
    ----------
    board : Board
        What there is.
    model, precision : ModelSpec, Precision
        What is served.
    shape : RequestShape
        Mean lengths.
    catalog : Catalog
        For the closed form, at the largest batch of each sharding.
    tpot_s : float or None
        Limit that the batch must keep: it is halved until it does. [s]

    Raises
    ------
    UnmappedError
        The model fits none.
    """
    best: tuple[float, Pool] | None = None
    for sizes in (_SIZES, _LARGE):
        for parallel in _candidates(model, [size for size in sizes if board.chips % size == 0]):
            pool = Pool(chip=board.chip, engine=board.engine, parallel=parallel)
            found = rate_per_chip(pool, model, precision, shape, catalog=catalog, tpot_s=tpot_s)
            if found is not None and (best is None or found > _BETTER * best[0]):
                best = found, pool
        if best is not None:
            break
    if best is None:
        raise UnmappedError(
            f"{model.name} in this format fits no sharding over {board.chips} x {board.chip.name}."
        )
    parallel = best[1].parallel
    spelled = ", ".join(f"{name}={getattr(parallel, name)}" for name in ("tp", "pp", "dp", "ep"))
    pool = Pool(
        chip=board.chip, engine=board.engine, parallel=parallel, replicas=board.chips // parallel.chips
    )
    return pool, f"sharding not said, {spelled} serves most per chip"


def _candidates(model: ModelSpec, sizes: Sequence[int]) -> Iterator[Parallel]:
    """The smallest first; attention data parallel where tensor parallelism would copy a latent cache."""
    latent = any(isinstance(mixer, MlaAttention) for group in model.layers for mixer in group.mixers)
    for size in sizes:
        for pp in (stages for stages in (*_SIZES, *_LARGE) if size % stages == 0):
            yield Parallel(tp=size // pp, pp=pp)
        if latent and size > 1:
            yield Parallel(tp=1, dp=size, ep=size)


def rate_per_chip(
    pool: Pool,
    model: ModelSpec,
    precision: Precision,
    shape: RequestShape,
    *,
    catalog: Catalog,
    tpot_s: float | None = None,
) -> float | None:
    """Requests per second and chip at the largest batch, in closed form; None where it does not fit. [1/s]"""
    if layout_problem(pool, model, precision) is not None:
        return None
    deployment = Deployment(model=model, precision=precision, pools=(pool,))
    held = capacity(pool, model, precision, shape).max_batch
    batch = min(held, pool.engine.max_num_seqs * pool.parallel.dp)
    while batch >= 1:
        found = estimate(deployment, shape, catalog=catalog, batch=batch)
        if not found.feasible:
            return None
        if tpot_s is None or not found.metrics["tpot_s"].value > tpot_s:
            return found.metrics["requests_per_s"].value / pool.parallel.chips
        batch //= 2
    return None
