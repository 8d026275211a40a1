"""Static batching: a batch is formed, served to its last answer, and the next one begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.options import Number, Whole, changed, option
from tokenroof.serve.core import Scheduler
from tokenroof.serve.policies.static import Static


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOptions:
    """The baseline that every engine is measured against; kernels and memory rule are the engine's.

    Attributes
    ----------
    max_batch_size : int or None
        Sequences of a batch of one data parallel rank; None is the engine's limit.
    batch_timeout_s : float
        How long a batch that is not full waits for more. [s]
    """

    max_batch_size: int | None = option(Whole())
    batch_timeout_s: float = option(Number(included=True), 0.0)

    ALIASES: ClassVar[Mapping[str, str]] = {}

    @property
    def prefix_caching(self) -> bool | None:
        """Never."""
        return False

    def rank_blocks(self, engine: Engine, held: int) -> int:
        """What the memory holds."""
        return held

    def engine(self, engine: Engine) -> Engine:
        """The catalog's engine with these options; prompts are not split."""
        return replace(changed(engine, max_num_seqs=self.max_batch_size), chunked_prefill=False)

    def scheduler(self, engine: Engine) -> Scheduler:
        """The batching rule, with the limits of one data parallel rank."""
        return Static(max_batch_size=engine.max_num_seqs, batch_timeout_s=self.batch_timeout_s)

    def graph_sizes(
        self, engine: Engine, *, query_tokens: int, chip_bytes: float, tp: int
    ) -> tuple[int, ...]:
        """None: nothing is padded."""
        return ()
