"""When loading an evicted prefix from a tier beats computing it again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Role
from tokenroof.deploy.simulated.memory import rank_chips
from tokenroof.deploy.simulated.offload import Offload
from tokenroof.errors import InputError
from tokenroof.graph.memory import kv_bytes_per_token_per_chip
from tokenroof.search.answers.closed import ask_of, replica_of, where
from tokenroof.search.answers.core import OffloadRow, OffloadTable, TierAnswer
from tokenroof.search.asked import Question
from tokenroof.search.core import Candidate
from tokenroof.search.steady import prefilling, settle
from tokenroof.serve.core import CacheTier
from tokenroof.workload.core import RequestShape

FloatArray = npt.NDArray[np.float64]

PREFIXES = (256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
"""Lengths that are looked at, as far as the model reaches. [tokens]"""

NOTES = (
    "a prefix is in the tier already: what it costs to write it there is not counted",
    "to compute: the prompt alone on an idle replica, in chunks of the engine's; to load: whole blocks over "
    "the tier's link, the chips free meanwhile",
    "what windowed and recurrent layers hold beside their growing cache is not loaded",
)


def offload(
    question: Question,
    candidate: Candidate,
    tiers: Sequence[Offload],
    *,
    catalog: Catalog,
    prefix_tokens: Sequence[int] = (),
    loads_at_once: int = 1,
) -> OffloadTable:
    """Bytes over the link of a tier against the prefill that they save, by prefix length and tier.

    Parameters
    ----------
    question : Question
        Model and chips.
    candidate : Candidate
        Whose prompts: its first pool.
    tiers : sequence of Offload
        ``Host``, ``Ssd``, ``Remote``, with the speeds of the catalog or their own.
    catalog : Catalog
        Links and drives.
    prefix_tokens : sequence of int, optional
        Lengths; default: powers of two. [tokens]
    loads_at_once : int
        Prefixes that are loaded side by side and share the link; prompts that are computed do not wait for
        each other here, so this favours computing.

    Returns
    -------
    OffloadTable
        Rows, and for every tier the length from which on it pays.

    Raises
    ------
    InputError
        No tiers or lengths, or a tier whose speed is not known for these chips.

    Notes
    -----
    It answers what is faster for one prompt. That a prefix which is loaded leaves the chips to others is
    ``recompute_chip_s``; whether the tier holds enough for prefixes to be found again is a matter of the
    traffic, which ``simulate`` knows.
    """
    if not tiers or loads_at_once < 1 or any(length < 1 for length in prefix_tokens):
        raise InputError(
            f"offload needs a tier, at least one load and prefixes of at least one token, got {len(tiers)} "
            f"tiers, {loads_at_once} loads and {list(prefix_tokens)}."
        )
    subject, model = replica_of(question, candidate, 0), question.model
    reach = model.max_context_tokens or PREFIXES[-1]
    lengths = sorted(set(prefix_tokens)) or [each for each in PREFIXES if each <= reach]
    pool = subject.pool(Role.PREFILL)
    budget = np.array([pool.engine.max_num_batched_tokens])
    settled = settle(
        subject,
        ask_of(question, RequestShape(isl_tokens=1, osl_tokens=1)),
        [
            prefilling(subject, ask_of(question, RequestShape(isl_tokens=length, osl_tokens=1)), budget)
            for length in lengths
        ],
    )
    recompute_s = np.array([float(each.ttft_s[0]) for each in settled])
    block = pool.engine.block_tokens
    whole = -(-np.array(lengths, dtype=np.float64) // block) * block
    per_token = float(kv_bytes_per_token_per_chip(model, subject.precision, subject.parallel)) * rank_chips(
        pool
    )
    if not per_token > 0.0:
        raise InputError(
            f"{model.name} has no cache that grows with the prompt: there is nothing to offload."
        )
    moved = whole * per_token
    rows: list[OffloadRow] = []
    answers = []
    for place in tiers:
        tier = place.tier(pool, catalog, block * per_token)
        load_s = loading_s(tier, moved, loads_at_once)
        left_s = recompute_s - tier.latency_s
        even = np.where(left_s > 0.0, moved * loads_at_once / np.where(left_s > 0.0, left_s, 1.0), math.inf)
        mine = [
            OffloadRow(
                tier=tier.name,
                prefix_tokens=length,
                cache_bytes=float(moved[at]),
                load_s=float(load_s[at]),
                recompute_s=float(recompute_s[at]),
                recompute_chip_s=float(recompute_s[at]) * rank_chips(pool),
                break_even_bytes_per_s=float(even[at]),
            )
            for at, length in enumerate(lengths)
        ]
        rows += mine
        answers.append(
            TierAnswer(
                tier=tier.name,
                bytes_per_s=tier.bytes_per_s,
                latency_s=tier.latency_s,
                holds_tokens=tier.blocks * block,
                from_tokens=_from_tokens(mine),
            )
        )
    return OffloadTable(
        where=where(subject), rows=tuple(rows), tiers=tuple(answers), loads_at_once=loads_at_once, notes=NOTES
    )


def loading_s(tier: CacheTier, moved_bytes: FloatArray, loads_at_once: int) -> FloatArray:
    """Until so many bytes are in place, the link shared by so many loads. [s]"""
    return tier.latency_s + moved_bytes * loads_at_once / tier.bytes_per_s


def _from_tokens(rows: Sequence[OffloadRow]) -> int | None:
    """The shortest prefix from which on every row pays."""
    found = None
    for row in reversed(rows):
        if not row.pays:
            break
        found = row.prefix_tokens
    return found
