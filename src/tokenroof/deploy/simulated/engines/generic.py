"""Options of the engine that is none in particular: limits and memory, batched as vLLM does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.options import Flag, Number, Whole, changed, option
from tokenroof.serve.core import Scheduler
from tokenroof.serve.policies.vllm import Vllm


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericOptions:
    """Names of the catalog's engine rows; None is the catalog's value.

    Attributes
    ----------
    max_num_seqs, max_num_batched_tokens : int or None
        Limits of a step of one data parallel rank.
    memory_fraction : float or None
        Part of the memory left over that the cache takes.
    block_tokens : int or None
        Tokens of a block. [tokens]
    chunked_prefill : bool or None
        Prompts may be split over steps.
    prefix_caching : bool or None
        Prompts share blocks. None: yes, but not for models with recurrent layers.
    """

    max_num_seqs: int | None = option(Whole())
    max_num_batched_tokens: int | None = option(Whole())
    memory_fraction: float | None = option(Number(most=1.0))
    block_tokens: int | None = option(Whole())
    chunked_prefill: bool | None = option(Flag())
    prefix_caching: bool | None = option(Flag())

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def rank_blocks(self, engine: Engine, held: int) -> int:
        """What the memory holds."""
        return held

    def engine(self, engine: Engine) -> Engine:
        """The catalog's engine with these options."""
        found = changed(
            engine,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            memory_fraction=self.memory_fraction,
            block_tokens=self.block_tokens,
        )
        return found if self.chunked_prefill is None else replace(found, chunked_prefill=self.chunked_prefill)

    def scheduler(self, engine: Engine) -> Scheduler:
        """The batching rule, with the limits of one data parallel rank."""
        return Vllm(
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            enable_chunked_prefill=engine.chunked_prefill,
        )

    def graph_sizes(
        self, engine: Engine, *, query_tokens: int, chip_bytes: float, tp: int
    ) -> tuple[int, ...]:
        """None: nothing is padded."""
        return ()
