"""Options of vLLM (V1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.options import (
    Flag,
    Number,
    Sizes,
    Whole,
    changed,
    host_in_line,
    option,
    per_query,
)
from tokenroof.serve.core import Scheduler
from tokenroof.serve.policies.vllm import Vllm

MOST_CAPTURED = 512
"""Largest batch for which graphs are captured by default: ``VllmConfig._set_cudagraph_sizes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmOptions:
    """Names and defaults of ``vllm serve``; None is the catalog's value.

    Attributes
    ----------
    max_num_seqs, max_num_batched_tokens : int or None
        Limits of a step of one data parallel rank.
    gpu_memory_utilization : float or None
        Part of the memory of a chip that the engine may use.
    block_size : int or None
        Tokens of a block. [tokens]
    enable_prefix_caching : bool or None
        Prompts share blocks. None: yes, but not for models with recurrent layers.
    enable_chunked_prefill : bool or None
        Prompts may be split over steps.
    long_prefill_token_threshold : int
        Most tokens that one prompt takes of a step; 0: no cap.
    num_gpu_blocks_override : int or None
        Blocks of one data parallel rank, whatever the memory holds.
    cudagraph_capture_sizes : tuple of int or None
        Batches, in tokens, for which graphs are captured; None: 1, 2, 4, then steps of 8 up to 256 and of
        16 up to the smaller of 512 and twice the most tokens that decode.
    max_cudagraph_capture_size : int or None
        Another end of that list.
    enforce_eager : bool
        No graphs, so no padding.
    async_scheduling : bool
        The host prepares a step while the one before runs (since 0.14 unless told otherwise): requests are
        taken and ends are seen a step later. False: the host's time of a step is the upper end of the
        catalog's range.
    """

    max_num_seqs: int | None = option(Whole())
    max_num_batched_tokens: int | None = option(Whole())
    gpu_memory_utilization: float | None = option(Number(most=1.0))
    block_size: int | None = option(Whole())
    enable_prefix_caching: bool | None = option(Flag())
    enable_chunked_prefill: bool | None = option(Flag())
    long_prefill_token_threshold: int = option(Whole(0), 0)
    num_gpu_blocks_override: int | None = option(Whole())
    cudagraph_capture_sizes: tuple[int, ...] | None = option(Sizes())
    max_cudagraph_capture_size: int | None = option(Whole())
    enforce_eager: bool = option(Flag(), False)
    async_scheduling: bool = option(Flag(), True)

    ALIASES: ClassVar[Mapping[str, str]] = {}

    @property
    def prefix_caching(self) -> bool | None:
        """Whether prompts share blocks; None: as the engine does by itself."""
        return self.enable_prefix_caching

    def rank_blocks(self, engine: Engine, held: int) -> int:
        """``num_gpu_blocks_override`` counts whatever the memory holds."""
        return self.num_gpu_blocks_override or held

    def engine(self, engine: Engine) -> Engine:
        """The catalog's engine with these options."""
        found = changed(
            engine,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            memory_fraction=self.gpu_memory_utilization,
            block_tokens=self.block_size,
        )
        if not self.async_scheduling:
            found = host_in_line(found, "no async_scheduling")
        chunked = self.enable_chunked_prefill
        return found if chunked is None else replace(found, chunked_prefill=chunked)

    def scheduler(self, engine: Engine) -> Scheduler:
        """The batching rule, with the limits of one data parallel rank."""
        return Vllm(
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            long_prefill_token_threshold=self.long_prefill_token_threshold,
            enable_chunked_prefill=engine.chunked_prefill,
            async_scheduling=self.async_scheduling,
        )

    def graph_sizes(
        self, engine: Engine, *, query_tokens: int, chip_bytes: float, tp: int
    ) -> tuple[int, ...]:
        """Sequences of one rank for which decode graphs are captured; others are padded up to the next."""
        if self.enforce_eager:
            return ()
        most = self.max_cudagraph_capture_size or min(
            engine.max_num_seqs * query_tokens * 2, MOST_CAPTURED, engine.max_num_batched_tokens
        )
        usual = (1, 2, 4, *range(8, 256, 8), *range(256, most + 1, 16))
        sizes = self.cudagraph_capture_sizes or tuple(size for size in usual if size <= most)
        return per_query(sizes, query_tokens)
