"""Pools of a row: one that does both, or prefill and decode apart, each with its own sharding."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenroof.calibrate.validation.core import Row, UnmappedError
from tokenroof.calibrate.validation.fields import flag, whole
from tokenroof.calibrate.validation.loads import lengths_of
from tokenroof.calibrate.validation.shardings import Board, best_sharding
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.model import ModelSpec, Moe, Precision
from tokenroof.deploy.core import Pool, Role
from tokenroof.graph.core import Parallel
from tokenroof.graph.sharding import sharding_problem
from tokenroof.workload.core import RequestShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Pools, and what was assumed about them."""

    pools: tuple[Pool, ...]
    notes: tuple[str, ...] = ()


MOST_CHIPS = 4096
"""Of one row. Published servings have up to two thousand; each replica is simulated."""


def layout_of(
    row: Row,
    chip: Chip,
    engine: Engine,
    model: ModelSpec,
    precision: Precision,
    catalog: Catalog,
    *,
    tpot_s: float | None = None,
) -> Layout:
    """The pools of a row.

    Parameters
    ----------
    row : Row
        Columns ``tp``, ``ep``, ``pp``, ``dp_attention``, ``num_gpus``, and those of separate pools.
    chip, engine, model, precision : Chip, Engine, ModelSpec, Precision
        What they are made of. Where a row does not say how it was sharded (MLPerf does not), the sharding
        is chosen that serves most per chip in closed form, as its submitter would have.
    catalog : Catalog
        For that choice.
    tpot_s : float or None
        A limit that it keeps. [s]

    Raises
    ------
    UnmappedError
        Counts that contradict each other.
    """
    chips = whole(row, "num_gpus", most=MOST_CHIPS)
    if chips is None:
        raise UnmappedError("num_gpus is not said.")
    if flag(row, "disagg"):
        return _apart(row, chip, engine, model, precision, chips)
    tp = whole(row, "tp")
    if tp is None:
        isl, osl = lengths_of(row)
        shape = RequestShape(isl_tokens=round(isl), osl_tokens=round(osl))
        pool, said = best_sharding(
            Board(chip=chip, engine=engine, chips=chips * chips_of_board(row, chip)),
            model,
            precision,
            shape,
            catalog=catalog,
            tpot_s=tpot_s,
        )
        return Layout(pools=(pool,), notes=(said,))
    notes: tuple[str, ...] = ()
    pp = whole(row, "pp") or 1
    if tp * pp > chips and tp * pp == 2 * chips and chip.vendor == "Google":
        # A Trillium-successor chip has two cores that the framework counts as devices.
        tp, notes = tp // 2, (f"tp={tp} counts the two cores of each chip",)
    parallel = _parallel(tp, pp, _ep(row, "ep", tp), flag(row, "dp_attention"), chips, model)
    parallel, as_served = _as_served(parallel, model, precision)
    notes += as_served
    if chips % parallel.chips:
        raise UnmappedError(f"tp={tp} x pp={pp} does not divide the {chips} chips of the row.")
    pool = Pool(chip=chip, engine=engine, parallel=parallel, replicas=chips // parallel.chips)
    return Layout(pools=(pool,), notes=notes)


def chips_of_board(row: Row, chip: Chip) -> int:
    """Chips on each board that a row counts.

    MLPerf's Arc Pro B60 are boards of two chips with 48 GB (Intel, "Arc Pro B60 Dual", v5.1 submissions).
    """
    return 2 if row.text("source").startswith("MLPerf") and chip.name == "arc-b60" else 1


def _ep(row: Row, column: str, tp: int) -> int | None:
    return tp if row.text(column).startswith("=tp") else whole(row, column)


def _parallel(
    tp: int, pp: int, ep: int | None, data_parallel: bool, chips: int, model: ModelSpec
) -> Parallel:
    """The sharding that engines mean by these numbers; with data parallel attention, ``tp`` counts ranks."""
    experts = any(isinstance(group.ffn, Moe) for group in model.layers)
    ep = min(ep or 1, tp * pp) if experts else 1
    if data_parallel and experts:
        return Parallel(tp=1, dp=tp, pp=pp, ep=ep if ep > 1 else 1)
    return Parallel(tp=tp, pp=pp, ep=ep)


def _as_served(
    parallel: Parallel, model: ModelSpec, precision: Precision
) -> tuple[Parallel, tuple[str, ...]]:
    """Whole experts on each rank where engines refuse to split them so far, as measured it was served.

    vLLM and SGLang refuse shards that are no multiple of a block of scales ("not divisible by weight
    quantization block_n", vllm#17569), and their recipes say expert parallelism instead.
    """
    if parallel.ep > 1 or sharding_problem(model, parallel, precision) is None:
        return parallel, ()
    whole_experts = replace(parallel, ep=parallel.stage_chips)
    if sharding_problem(model, whole_experts, precision) is not None:
        return parallel, ()
    return whole_experts, (f"ep={whole_experts.ep}: engines refuse to split these experts so many ways",)


def _apart(
    row: Row, chip: Chip, engine: Engine, model: ModelSpec, precision: Precision, chips: int
) -> Layout:
    roles = [("prefill", Role.PREFILL), ("decode", Role.DECODE)]
    pools: list[Pool] = []
    notes: list[str] = []
    for name, role in roles:
        total = whole(row, f"{name}_gpus")
        workers = whole(row, f"{name}_workers") or 1
        if total is None:
            if role is Role.DECODE and row.text("scenario").startswith("prefill only"):
                break
            raise UnmappedError(f"disagg is true, but {name}_gpus is not said.")
        if total % workers:
            raise UnmappedError(f"{workers} {name} workers do not divide {total} chips.")
        size = total // workers
        tp = whole(row, f"{name}_tp") or size
        ep = _ep(row, f"{name}_ep", tp)
        said = row.text(f"{name}_dp_attention")
        data_parallel = flag(row, f"{name}_dp_attention") if said else (ep or 1) > 1
        if not said:
            notes.append(f"{name}: attention data parallel where experts are, since the row does not say")
        if data_parallel and tp < size:
            tp = size
        if size % tp:
            raise UnmappedError(f"{name}_tp={tp} does not divide the {size} chips of a {name} worker.")
        parallel, as_served = _as_served(_parallel(tp, 1, ep, data_parallel, size, model), model, precision)
        notes += [f"{name}: {each}" for each in as_served]
        if size % parallel.chips:
            raise UnmappedError(f"{name}: {parallel.chips} chips of a replica do not divide {size}.")
        replicas = workers * (size // parallel.chips)
        pools.append(Pool(chip=chip, engine=engine, parallel=parallel, role=role, replicas=replicas))
    if len(pools) == 2 and sum(pool.parallel.chips * pool.replicas for pool in pools) != chips:
        raise UnmappedError(f"prefill_gpus and decode_gpus do not sum to num_gpus={chips}.")
    if len(pools) == 1:
        pools = [Pool(chip=chip, engine=engine, parallel=pools[0].parallel, replicas=pools[0].replicas)]
        notes.append("prefill alone: every request ends with its first token")
    return Layout(pools=tuple(pools), notes=tuple(notes))
