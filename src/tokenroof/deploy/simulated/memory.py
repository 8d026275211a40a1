"""How many blocks of cache a replica has, and what a block is."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.capacity import cache_bytes
from tokenroof.deploy.core import Infeasible, Pool
from tokenroof.deploy.simulated.engines.options import EngineSettings
from tokenroof.graph.memory import fixed_bytes_per_sequence_per_chip, kv_bytes_per_token_per_chip


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftMemory:
    """What speculation holds on one chip.

    Attributes
    ----------
    weights_bytes : float
        Weights of what drafts. [bytes]
    bytes_per_token : float
        Its own cache. [bytes]
    """

    weights_bytes: float = 0.0
    bytes_per_token: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSize:
    """Blocks of one replica.

    Attributes
    ----------
    num_blocks : int
        All data parallel ranks together.
    rank_blocks : int
        Of one data parallel rank: a sequence lives on one.
    block_tokens : int
        Tokens of a block. [tokens]
    blocks_per_sequence : int
        What a sequence takes beside its growing layers: state, windowed layers.
    block_bytes : float
        A block, on all chips of its rank. [bytes]
    """

    num_blocks: int
    rank_blocks: int
    block_tokens: int
    blocks_per_sequence: int
    block_bytes: float

    def blocks_of(self, tokens: int) -> int:
        """Blocks of a sequence of so many tokens."""
        return -(-tokens // self.block_tokens) + self.blocks_per_sequence


def rank_chips(pool: Pool) -> int:
    """Chips that hold one sequence: those of a data parallel rank."""
    return pool.parallel.chips // pool.parallel.dp


def cache_size(
    pool: Pool,
    model: ModelSpec,
    precision: Precision,
    settings: EngineSettings,
    *,
    longest_tokens: int,
    draft: DraftMemory,
) -> CacheSize | Infeasible:
    """Blocks of a replica under its engine's memory rule.

    Parameters
    ----------
    pool : Pool
        With the engine as the options have made it.
    model, precision : ModelSpec, Precision
        What is cached.
    settings : EngineSettings
        May say the number of blocks outright.
    longest_tokens : int
        Prompt and answer of the longest request: windowed layers are counted at that length. [tokens]
    draft : DraftMemory
        Taken from the cache.

    Returns
    -------
    CacheSize or Infeasible
        The latter when more blocks are asked for than the memory holds, or not one is left.

    Notes
    -----
    Growing layers take blocks as in :func:`tokenroof.deploy.capacity.capacity`. What a sequence holds
    whatever its length is rounded up to whole blocks. A model without growing layers has one block per
    sequence.
    """
    engine, parallel = pool.engine, pool.parallel
    per_token = kv_bytes_per_token_per_chip(model, precision, parallel) + draft.bytes_per_token
    fixed = fixed_bytes_per_sequence_per_chip(model, precision, parallel, longest_tokens)
    left = cache_bytes(pool, model, precision) - draft.weights_bytes
    if per_token:
        tokens, block, per_sequence = engine.block_tokens, engine.block_tokens * per_token, fixed
    else:
        tokens, block, per_sequence = max(model.max_context_tokens, longest_tokens), float(fixed), 0
    held = max(0, int(left // block))
    ranked = settings.rank_blocks(engine, held)
    if ranked > held or held < 1:
        where = f"{pool.parallel.chips} x {pool.chip.name}"
        asked = f"{ranked} blocks" if ranked > held else "one block"
        reason = (
            f"does not fit: {asked} of {tokens} tokens ({block * max(ranked, 1) / 1e9:.1f} GB per chip) > "
            f"{max(left, 0.0) / 1e9:.1f} GB left for the cache on {where} under {engine.name}. "
            "Ask for fewer blocks, or more chips."
        )
        return Infeasible(reason=reason, need=block * max(ranked, 1), have=max(left, 0.0), unit="bytes")
    return CacheSize(
        num_blocks=ranked * parallel.dp,
        rank_blocks=ranked,
        block_tokens=tokens,
        blocks_per_sequence=-(-int(per_sequence) // int(block)),
        block_bytes=block * rank_chips(pool),
    )
