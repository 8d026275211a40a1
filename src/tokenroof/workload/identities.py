"""Identities of the leading blocks of synthetic prompts, built without a loop over requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, FloatArray, IntArray, Prefixes
from tokenroof.workload.inputs import check_number, check_whole

BLOCK_TOKENS = 64
"""Tokens of an identity unless told: a multiple of the cache blocks of vLLM, SGLang and TensorRT-LLM. Only
whole ones are shared, so that a request computes up to so many tokens more than it shares; 16 is exact for
vLLM and takes four times the memory. [tokens]"""

MAX_IDENTITIES = 2**28
"""Most identities of one workload, which fill 2 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrompt:
    """A system prompt that many requests begin with. Equal values are the same prompts.

    Attributes
    ----------
    tokens : int
        Its length, on top of the lengths that are drawn. [tokens]
    groups : int
        How many different ones there are (applications, tenants).
    zipf_exponent : float
        The k-th group has a share in proportion to k ** -zipf_exponent; 0: all the same.
    name : str
        Tells apart prompts that are the same otherwise.
    """

    tokens: int
    groups: int = 1
    zipf_exponent: float = 0.0
    name: str = "system"

    def __post_init__(self) -> None:
        check_whole("SharedPrompt", "tokens", self.tokens, least=1)
        check_whole("SharedPrompt", "groups", self.groups, least=1, most=2**24)
        check_number("SharedPrompt", "zipf_exponent", self.zipf_exponent, most=10.0)

    @property
    def group_weights(self) -> FloatArray:
        """How likely each group is, of any sum, shape (groups,)."""
        weights: FloatArray = np.arange(1, self.groups + 1, dtype=np.float64) ** -self.zipf_exponent
        return weights


def build_identities(
    *, block_tokens: int, group: IntArray, group_blocks: IntArray, chain: IntArray, blocks: IntArray
) -> Prefixes | None:
    """Identities of requests that begin with their group's prompt and go on with their own chain.

    Parameters
    ----------
    block_tokens : int
        Tokens of an identity. [tokens]
    group : IntArray
        Shared prompt of each request or ``NOBODY``, shape (num_requests,).
    group_blocks : IntArray
        Whole blocks of each shared prompt, shape (num_groups,).
    chain : IntArray
        What a request shares beyond that: requests of a chain lie together, each going on where the one
        before ended; shape (num_requests,).
    blocks : IntArray
        Identities of each request, those of its shared prompt included, shape (num_requests,).

    Returns
    -------
    Prefixes or None
        Shared prompts first, in order of groups, then the chains in theirs; None if there are none.

    Raises
    ------
    InputError
        They are more than memory holds.
    """
    total = int(blocks.sum())
    if total == 0:
        return None
    if total > MAX_IDENTITIES:
        larger = block_tokens * -(-total // MAX_IDENTITIES)
        raise InputError(
            f"block_tokens {block_tokens} makes {total:.3g} prefix identities; at most {MAX_IDENTITIES:,} "
            f"are possible. Give fewer requests, or block_tokens {larger}."
        )
    grouped = group != NOBODY
    shared = np.zeros_like(blocks)
    shared[grouped] = np.minimum(group_blocks[group[grouped]], blocks[grouped])
    own = blocks - shared

    used = np.zeros(group_blocks.size, dtype=bool)
    used[group[grouped]] = True
    group_base = _from_zero(group_blocks * used)
    first = np.flatnonzero(np.diff(chain, prepend=chain[0] - 1))
    longest = np.maximum.reduceat(own, first)
    chain_base = np.repeat(_from_zero(longest), np.diff(np.append(first, chain.size)))
    chain_base += int((group_blocks * used).sum())

    # stretches of consecutive numbers, two of each request, written as steps of 1 with jumps between
    counts = np.stack((shared, own), axis=1).ravel()
    bases = np.stack((with_nobody(group_base)[group], chain_base), axis=1).ravel()
    filled = np.flatnonzero(counts)
    counts, bases = counts[filled], bases[filled]
    ids = np.ones(total, dtype=np.int64)
    ids[0] = bases[0]
    ids[np.cumsum(counts[:-1])] = bases[1:] - (bases[:-1] + counts[:-1] - 1)
    np.cumsum(ids, out=ids)
    start = np.concatenate(([0], np.cumsum(blocks)))
    return Prefixes(block_tokens=block_tokens, start=start, ids=ids)


def with_nobody(of_group: IntArray) -> IntArray:
    """A column of groups with a 0 at its end, where the index ``NOBODY`` finds it."""
    return np.append(of_group, 0)


def _from_zero(counts: IntArray) -> IntArray:
    """Where stretches of these lengths begin when laid end to end."""
    begins: IntArray = np.cumsum(counts) - counts
    return begins
