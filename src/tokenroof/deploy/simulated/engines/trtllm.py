"""Options of TensorRT-LLM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.options import (
    Choice,
    Flag,
    Number,
    Sizes,
    Whole,
    changed,
    host_in_line,
    option,
)
from tokenroof.serve.core import Scheduler
from tokenroof.serve.policies.trtllm import Trtllm

NO_EVICT, MAX_UTILIZATION = "GUARANTEED_NO_EVICT", "MAX_UTILIZATION"
MOST_CAPTURED = 128
"""Largest batch for which graphs are captured by default: ``CudaGraphConfig``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtllmOptions:
    """Names and defaults of ``trtllm-serve`` and of the LLM API; None is the catalog's value.

    Attributes
    ----------
    max_batch_size, max_num_tokens : int or None
        Limits of a step of one data parallel rank.
    attention_dp_enable_balance : bool
        With several data parallel ranks, prompts wait until every rank has one: fewer steps carry prompts.
    attention_dp_timeout_iters, attention_dp_batching_wait_iters : int
        Steps that they wait at most, and steps that they wait once every rank has one.
    kv_cache_free_gpu_mem_fraction : float or None
        Part of the memory left over by weights and activations that the cache takes.
    tokens_per_block : int or None
        Tokens of a block. [tokens]
    max_tokens_in_paged_kv_cache : int or None
        Tokens of cache of a data parallel rank, where it is less than what the memory holds.
    capacity_scheduler_policy : str
        GUARANTEED_NO_EVICT reserves the blocks of the whole request; MAX_UTILIZATION pauses requests when
        blocks run out.
    enable_chunked_context : bool or None
        Prompts may be split over steps.
    enable_block_reuse : bool or None
        Prompts share blocks. None: yes, but not for models with recurrent layers.
    cuda_graph_padding_enabled : bool
        Batches are padded up to the next captured one; off by default.
    cuda_graph_max_batch_size, cuda_graph_batch_sizes : int or None, tuple of int or None
        Largest captured batch, or all of them; None: 128.
    disable_overlap_scheduler : bool
        The host prepares a step after the one before, not while it runs: requests are taken and ends are
        seen a step sooner, and the host's time of a step is the upper end of the catalog's range.
    """

    max_batch_size: int | None = option(Whole())
    max_num_tokens: int | None = option(Whole())
    attention_dp_enable_balance: bool = option(Flag(), False)
    attention_dp_timeout_iters: int = option(Whole(least=0), 50)
    attention_dp_batching_wait_iters: int = option(Whole(least=0), 10)
    kv_cache_free_gpu_mem_fraction: float | None = option(Number(most=1.0))
    tokens_per_block: int | None = option(Whole())
    max_tokens_in_paged_kv_cache: int | None = option(Whole())
    capacity_scheduler_policy: str = option(Choice((NO_EVICT, MAX_UTILIZATION)), NO_EVICT)
    enable_chunked_context: bool | None = option(Flag())
    enable_block_reuse: bool | None = option(Flag())
    cuda_graph_padding_enabled: bool = option(Flag(), False)
    cuda_graph_max_batch_size: int | None = option(Whole())
    cuda_graph_batch_sizes: tuple[int, ...] | None = option(Sizes())
    disable_overlap_scheduler: bool = option(Flag(), False)

    ALIASES: ClassVar[Mapping[str, str]] = {
        "kv_cache_free_gpu_memory_fraction": "kv_cache_free_gpu_mem_fraction",
        "free_gpu_memory_fraction": "kv_cache_free_gpu_mem_fraction",
        "enable_balance": "attention_dp_enable_balance",
        "timeout_iters": "attention_dp_timeout_iters",
        "batching_wait_iters": "attention_dp_batching_wait_iters",
        "enable_chunked_prefill": "enable_chunked_context",
        "kv_cache_enable_block_reuse": "enable_block_reuse",
        "enable_padding": "cuda_graph_padding_enabled",
    }

    @property
    def prefix_caching(self) -> bool | None:
        """Whether prompts share blocks; None: as the engine does by itself."""
        return self.enable_block_reuse

    def rank_blocks(self, engine: Engine, held: int) -> int:
        """The fewer of what the memory holds and ``max_tokens_in_paged_kv_cache``."""
        most = self.max_tokens_in_paged_kv_cache
        return held if most is None else min(held, most // engine.block_tokens)

    def engine(self, engine: Engine) -> Engine:
        """The catalog's engine with these options."""
        found = changed(
            engine,
            max_num_seqs=self.max_batch_size,
            max_num_batched_tokens=self.max_num_tokens,
            memory_fraction=self.kv_cache_free_gpu_mem_fraction,
            block_tokens=self.tokens_per_block,
        )
        if self.disable_overlap_scheduler:
            found = host_in_line(found, "disable_overlap_scheduler")
        chunked = self.enable_chunked_context
        return found if chunked is None else replace(found, chunked_prefill=chunked)

    def scheduler(self, engine: Engine) -> Scheduler:
        """The batching rule, with the limits of one data parallel rank."""
        return Trtllm(
            max_batch_size=engine.max_num_seqs,
            max_num_tokens=engine.max_num_batched_tokens,
            enable_balance=self.attention_dp_enable_balance,
            timeout_iters=self.attention_dp_timeout_iters,
            batching_wait_iters=self.attention_dp_batching_wait_iters,
            capacity_scheduler_policy=self.capacity_scheduler_policy,
            enable_chunked_context=engine.chunked_prefill,
            async_scheduling=not self.disable_overlap_scheduler,
        )

    def graph_sizes(
        self, engine: Engine, *, query_tokens: int, chip_bytes: float, tp: int
    ) -> tuple[int, ...]:
        """Sequences of one rank for which decode graphs are captured; others are padded up to the next."""
        if not self.cuda_graph_padding_enabled:
            return ()
        if self.cuda_graph_batch_sizes is not None:
            return self.cuda_graph_batch_sizes
        most = self.cuda_graph_max_batch_size or MOST_CAPTURED
        usual = (1, 2, 4, *range(8, 129, 8), *range(192, most + 1, 64))
        return (*(size for size in usual if size < most), most)
