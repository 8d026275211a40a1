"""Where the memory of a chip goes, by the budget rule of the engine, and how much cache is left.

Each engine sizes its cache pool by its own rule; ``docs/model/memory.md`` derives them and compares
them with block counts that were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tokenroof.catalog.core import Chip, Engine, MemoryTier, OperandKind
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.core import Capacity, CapacityItem, Infeasible, Pool
from tokenroof.errors import CatalogError
from tokenroof.graph.core import Parallel
from tokenroof.graph.memory import (
    activation_bytes_per_chip,
    fixed_bytes_per_sequence_per_chip,
    kv_bytes_per_token_per_chip,
    weight_bytes_per_chip,
)
from tokenroof.workload.core import RequestShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What asks for memory on one chip beside the cache. [bytes]

    ``total`` is what the driver reports for the tier that holds the cache; ``weights`` is the part
    of the weights that lives in that tier.
    """

    total: float
    weights: float
    activations: float
    runtime: float
    context: float
    graphs: float


def tier_of(chip: Chip, kind: OperandKind) -> MemoryTier:
    """The tier that holds operands of ``kind``.

    Raises
    ------
    CatalogError
        No tier of the chip holds them.
    """
    for tier in chip.memory:
        if kind in tier.holds:
            return tier
    raise CatalogError(f"{chip.name}: no memory tier holds {kind.value}. Add it to a tier's 'holds'.")


def resident_weights(model: ModelSpec, precision: Precision, parallel: Parallel) -> dict[str, int]:
    """Weights that an engine loads on one chip, by role. [bytes]

    Layers for multi-token prediction stay on disk: nothing speculates.
    """
    roles = weight_bytes_per_chip(model, precision, parallel)
    return {role: size for role, size in roles.items() if role != "mtp"}


def sampler_bytes(engine: Engine, model: ModelSpec) -> float:
    """Scratch of sampling one token for each of ``max_num_seqs`` sequences. [bytes]

    Sorting, softmax and cumulative sums of full-vocabulary rows: ``sampler_bytes_per_logit`` of the
    engine's data times sequences times vocabulary. This, not the layers, is the activation peak
    that an engine's profile run sees.
    """
    return engine.sampler_bytes_per_logit.value * engine.max_num_seqs * model.vocab


def activation_peak_bytes(
    engine: Engine, model: ModelSpec, precision: Precision, parallel: Parallel
) -> float:
    """Largest scratch of one step: the layers at the full token budget, or the sampler. [bytes]"""
    layers = activation_bytes_per_chip(model, precision, parallel, engine.max_num_batched_tokens)
    return max(float(layers), sampler_bytes(engine, model))


def runtime_bytes(engine: Engine, parallel: Parallel) -> float:
    """Libraries' workspaces, and communicators when chips talk to each other. [bytes]"""
    own = engine.runtime_bytes.value
    return own + (engine.communicator_bytes.value if parallel.chips > 1 else 0.0)


def _utilization(claims: Claims, fraction: float) -> float:
    """vLLM: a fraction of all memory, less everything that a profile run saw."""
    return fraction * claims.total - claims.weights - claims.activations - claims.runtime


def _static_fraction(claims: Claims, fraction: float) -> float:
    """SGLang: weights and cache together may take a fraction of what is free at start."""
    return fraction * (claims.total - claims.context - claims.runtime) - claims.weights


def _free_fraction(claims: Claims, fraction: float) -> float:
    """TensorRT-LLM, and generic (1 = all): a fraction of what is free once everything else is in place."""
    taken = claims.weights + claims.activations + claims.runtime + claims.context + claims.graphs
    return fraction * (claims.total - taken)


_RULES: Mapping[str, Callable[[Claims, float], float]] = {
    "utilization": _utilization,
    "static_fraction": _static_fraction,
    "free_fraction": _free_fraction,
    "all": _free_fraction,
}


def cache_pool_bytes(engine: Engine, claims: Claims) -> float:
    """Bytes of one chip that the engine gives to the cache; negative when the rest does not fit.

    Raises
    ------
    CatalogError
        The engine states an unknown budget rule.
    """
    if engine.budget_rule not in _RULES:
        known = ", ".join(_RULES)
        raise CatalogError(
            f"engine {engine.name}: unknown budget_rule {engine.budget_rule!r}. Known: {known}."
        )
    return _RULES[engine.budget_rule](claims, engine.memory_fraction)


def cache_bytes(pool: Pool, model: ModelSpec, precision: Precision) -> float:
    """Memory of one chip that is left for the cache under the engine's rule, 0 when there is none. [bytes]"""
    return max(0.0, cache_pool_bytes(pool.engine, _claims(pool, model, precision)))


def capacity(pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape) -> Capacity:
    """Memory waterfall of one chip, and what one replica can hold.

    Parameters
    ----------
    pool : Pool
        Chip, engine and sharding.
    model, precision : ModelSpec, Precision
        What is served, in which formats.
    shape : RequestShape
        Lengths; a sequence reserves the blocks of its full length.

    Returns
    -------
    Capacity
        ``items`` sum to the usable capacity of every tier that is used. When the weights do not fit,
        ``max_batch`` and ``kv_blocks`` are 0 and the items exceed the capacity: see
        :func:`memory_problem`.
    """
    engine, parallel = pool.engine, pool.parallel
    claims = _claims(pool, model, precision)
    pool_bytes = cache_bytes(pool, model, precision)
    per_token = float(kv_bytes_per_token_per_chip(model, precision, parallel))
    growing, fixed = sequence_bytes(pool, model, precision, shape)
    block_bytes, per_sequence = engine.block_tokens * per_token, growing + fixed
    sequences = int(pool_bytes // per_sequence) if per_sequence else 0
    blocks = int((pool_bytes - sequences * fixed) // block_bytes) if block_bytes else 0
    return Capacity(
        items=_items(pool, model, precision, claims, pool_bytes, sequences * fixed),
        kv_blocks=max(0, blocks) * parallel.dp,
        block_tokens=engine.block_tokens,
        kv_bytes_per_token=per_token,
        state_bytes_per_sequence=fixed,
        max_batch=sequences * parallel.dp,
    )


def sequence_bytes(
    pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape
) -> tuple[float, float]:
    """What a sequence of full length takes on one chip: its blocks, and its fixed part. [bytes]"""
    engine, parallel = pool.engine, pool.parallel
    length = shape.isl_tokens + shape.osl_tokens
    blocks = -(-length // engine.block_tokens)
    growing = blocks * engine.block_tokens * kv_bytes_per_token_per_chip(model, precision, parallel)
    return float(growing), float(fixed_bytes_per_sequence_per_chip(model, precision, parallel, length))


def memory_problem(
    pool: Pool, model: ModelSpec, precision: Precision, shape: RequestShape
) -> Infeasible | None:
    """Why not even one sequence fits on the replica's chips, or None; the caller adds the nearest change."""
    engine, parallel, chip = pool.engine, pool.parallel, pool.chip
    where = f"{parallel.chips} x {chip.name}"
    weights = resident_weights(model, precision, parallel)
    for tier in chip.memory:
        if OperandKind.WEIGHTS in tier.holds and OperandKind.KV not in tier.holds:
            need, have = float(sum(weights.values())), tier.usable_capacity_bytes.value
            if need > have:
                reason = (
                    f"does not fit: weights {need / 1e9:.1f} GB per chip > {have / 1e9:.1f} GB "
                    f"of {tier.name} on {where}."
                )
                return Infeasible(reason=reason, need=need, have=have, unit="bytes")
    claims = _claims(pool, model, precision)
    budget = cache_pool_bytes(engine, claims) + claims.weights
    sequence = sum(sequence_bytes(pool, model, precision, shape))
    need = claims.weights + sequence
    if need <= budget:
        return None
    reason = (
        f"does not fit: weights {claims.weights / 1e9:.1f} GB + one sequence's cache {sequence / 1e9:.1f} GB "
        f"per chip > {max(budget, 0.0) / 1e9:.1f} GB usable on {where} under {engine.name}."
    )
    return Infeasible(reason=reason, need=need, have=budget, unit="bytes")


def _claims(pool: Pool, model: ModelSpec, precision: Precision) -> Claims:
    engine, parallel = pool.engine, pool.parallel
    cache_tier = tier_of(pool.chip, OperandKind.KV)
    weights = float(sum(resident_weights(model, precision, parallel).values()))
    return Claims(
        total=cache_tier.usable_capacity_bytes.value,
        weights=weights if OperandKind.WEIGHTS in cache_tier.holds else 0.0,
        activations=activation_peak_bytes(engine, model, precision, parallel),
        runtime=runtime_bytes(engine, parallel),
        context=engine.context_bytes.value,
        graphs=engine.graph_bytes.value,
    )


def _items(
    pool: Pool, model: ModelSpec, precision: Precision, claims: Claims, pool_bytes: float, state_bytes: float
) -> tuple[CapacityItem, ...]:
    cache_tier = tier_of(pool.chip, OperandKind.KV)
    weight_tier = tier_of(pool.chip, OperandKind.WEIGHTS)
    roles = resident_weights(model, precision, pool.parallel)
    items = [
        CapacityItem(name=f"weights: {role}", bytes=float(size), tier=weight_tier.name)
        for role, size in roles.items()
        if size
    ]
    seen = {
        "activations": (claims.activations, "peak of one step at the engine's token budget, or of sampling"),
        "runtime": (claims.runtime, "library workspaces and communicators"),
        "context": (claims.context, "driver context"),
        "graphs": (claims.graphs, "captured graphs"),
    }
    items += [
        CapacityItem(name=name, bytes=size, tier=cache_tier.name, note=note)
        for name, (size, note) in seen.items()
        if size
    ]
    if state_bytes:
        note = "recurrent state and windowed caches of max_batch sequences"
        items.append(CapacityItem(name="state", bytes=state_bytes, tier=cache_tier.name, note=note))
    items.append(CapacityItem(name="kv cache", bytes=pool_bytes - state_bytes, tier=cache_tier.name))
    for tier in pool.chip.memory:
        used = sum(item.bytes for item in items if item.tier == tier.name)
        left = tier.usable_capacity_bytes.value - used
        if used and left > 0:
            name = "reserve" if tier is cache_tier else "free"
            note = "what the engine's rule leaves untouched" if tier is cache_tier else "not used"
            items.append(CapacityItem(name=name, bytes=left, tier=tier.name, note=note))
    return tuple(items)
