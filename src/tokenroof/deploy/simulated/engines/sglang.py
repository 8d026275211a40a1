"""Options of SGLang."""

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
    WholeOrOff,
    changed,
    host_in_line,
    option,
)
from tokenroof.errors import InputError
from tokenroof.serve.core import Scheduler
from tokenroof.serve.policies.sglang import Sglang

MIB = 2.0**20
_CAPTURED = ((20, 8, 8), (35, 16, 80), (60, 32, 160), (160, 256, 512))
_CAPTURED_BEYOND = 512
"""Memory of a chip below [GiB], largest captured batch with fewer than 4 chips and with more:
``ServerArgs._handle_gpu_memory_settings``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SglangOptions:
    """Names and defaults of ``sglang.launch_server``; None is the catalog's value.

    Attributes
    ----------
    max_running_requests : int or None
        Sequences of a data parallel rank at once.
    chunked_prefill_size : int or None
        Tokens of a chunk of prompts; -1: prompts are not split.
    max_prefill_tokens : int
        Most tokens of a batch of new prompts.
    mem_fraction_static : float or None
        Part of the free memory of a chip for weights and cache.
    page_size : int or None
        Tokens of a block. [tokens]
    schedule_conservativeness : float
        Factor on what is reserved for running answers; above 1 admits later.
    enable_mixed_chunk : bool
        Prompts and decodes share steps.
    disable_overlap_schedule : bool
        The host prepares a step after the one before, not while it runs: requests are taken and ends are
        seen a step sooner, and the host's time of a step is the upper end of the catalog's range.
    scheduler_recv_interval : int
        New requests are received once in so many decode steps, and after every batch of prompts.
    max_total_tokens : int or None
        Tokens of cache of a data parallel rank, whatever the memory holds.
    disable_radix_cache : bool
        No sharing of prefixes.
    cuda_graph_max_bs, cuda_graph_bs : int or None, tuple of int or None
        Largest batch for which graphs are captured, or all of them; None: by memory and ``tp``.
    disable_cuda_graph, disable_cuda_graph_padding : bool
        No graphs; graphs of every size. Neither pads.
    """

    max_running_requests: int | None = option(Whole())
    chunked_prefill_size: int | None = option(WholeOrOff())
    max_prefill_tokens: int = option(Whole(), 16384)
    mem_fraction_static: float | None = option(Number(most=1.0))
    page_size: int | None = option(Whole())
    schedule_conservativeness: float = option(Number(), 1.0)
    enable_mixed_chunk: bool = option(Flag(), False)
    disable_overlap_schedule: bool = option(Flag(), False)
    scheduler_recv_interval: int = option(Whole(), 1)
    max_total_tokens: int | None = option(Whole())
    disable_radix_cache: bool = option(Flag(), False)
    cuda_graph_max_bs: int | None = option(Whole())
    cuda_graph_bs: tuple[int, ...] | None = option(Sizes())
    disable_cuda_graph: bool = option(Flag(), False)
    disable_cuda_graph_padding: bool = option(Flag(), False)

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        if self.chunked_prefill_size == -1 and self.enable_mixed_chunk:
            raise InputError("enable_mixed_chunk needs chunks. Give a chunked_prefill_size above 0.")

    @property
    def prefix_caching(self) -> bool | None:
        """Whether prompts share blocks; None: as the engine does by itself."""
        return False if self.disable_radix_cache else None

    def rank_blocks(self, engine: Engine, held: int) -> int:
        """The fewer of what the memory holds and ``max_total_tokens``."""
        most = self.max_total_tokens
        return held if most is None else min(held, most // engine.block_tokens)

    def engine(self, engine: Engine) -> Engine:
        """The catalog's engine with these options."""
        size = self.chunked_prefill_size
        found = changed(
            engine,
            max_num_seqs=self.max_running_requests,
            max_num_batched_tokens=self.max_prefill_tokens if size == -1 else size,
            memory_fraction=self.mem_fraction_static,
            block_tokens=self.page_size,
        )
        if size is not None:
            found = replace(found, chunked_prefill=size != -1)
        if self.disable_overlap_schedule:
            found = host_in_line(found, "disable_overlap_schedule")
        return found

    def scheduler(self, engine: Engine) -> Scheduler:
        """The batching rule, with the limits of one data parallel rank."""
        return Sglang(
            max_running_requests=engine.max_num_seqs,
            chunked_prefill_size=engine.max_num_batched_tokens if engine.chunked_prefill else -1,
            max_prefill_tokens=self.max_prefill_tokens,
            schedule_conservativeness=self.schedule_conservativeness,
            enable_mixed_chunk=self.enable_mixed_chunk,
            async_scheduling=not self.disable_overlap_schedule,
            scheduler_recv_interval=self.scheduler_recv_interval,
        )

    def graph_sizes(
        self, engine: Engine, *, query_tokens: int, chip_bytes: float, tp: int
    ) -> tuple[int, ...]:
        """Sequences of one rank for which decode graphs are captured; others are padded up to the next."""
        if self.disable_cuda_graph or self.disable_cuda_graph_padding:
            return ()
        if self.cuda_graph_bs is not None:
            return self.cuda_graph_bs
        most = self.cuda_graph_max_bs or _most_captured(chip_bytes, tp)
        if query_tokens == 1:
            usual = (1, 2, 4, 8, 12, *range(16, 257, 8), *range(272, 512, 16), *range(512, most + 1, 32))
        else:
            usual = (*range(1, 9), *range(10, 33, 2), *range(40, 65, 4), *range(72, 257, 8))
            usual = (*usual, *range(272, most + 1, 16))
        return tuple(size for size in usual if size <= most)


def _most_captured(chip_bytes: float, tp: int) -> int:
    """Largest batch for which graphs are captured, by the memory of a chip."""
    for gib, few, many in _CAPTURED:
        if chip_bytes / MIB < gib * 1024:
            return few if tp < 4 else many
    return _CAPTURED_BEYOND
