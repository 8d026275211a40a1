"""Drafts from another, smaller model."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.simulated.drafting.core import (
    Drafter,
    FloatArray,
    IntArray,
    check_draft,
    drafter_parallel,
    pass_samples,
)
from tokenroof.deploy.simulated.memory import DraftMemory
from tokenroof.graph.memory import kv_bytes_per_token_per_chip, weight_bytes_per_chip
from tokenroof.perf.compile import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftModel:
    """A small model on the same chips, cut as its target, run once per draft token.

    Attributes
    ----------
    model, precision : ModelSpec, Precision
        What drafts, in which formats.
    draft_tokens : int
        Tokens that are drafted and verified per step.
    acceptance_fraction : float
        Probability that a draft token is right, given that all before it were.
    """

    model: ModelSpec
    precision: Precision
    draft_tokens: int
    acceptance_fraction: float

    def __post_init__(self) -> None:
        check_draft(self.draft_tokens, self.acceptance_fraction)

    def drafter(self, deployment: Deployment) -> Drafter:
        """The model."""
        return Drafter(model=self.model, precision=self.precision)

    def sample(
        self, pool: Pool, deployment: Deployment, columns: Columns, counts: IntArray, context: int
    ) -> FloatArray | None:
        """What drafting adds to a step, see ``Drafting``."""
        once = pass_samples(pool, deployment, self.drafter(deployment), columns, counts, context)
        return self.draft_tokens * once

    def memory(self, pool: Pool, deployment: Deployment) -> DraftMemory:
        """Its weights and its cache."""
        parallel = drafter_parallel(pool)
        roles = weight_bytes_per_chip(self.model, self.precision, parallel)
        weights = sum(size for role, size in roles.items() if role != "mtp")
        return DraftMemory(
            weights_bytes=float(weights),
            bytes_per_token=float(kv_bytes_per_token_per_chip(self.model, self.precision, parallel)),
        )

    def note(self) -> str:
        """What is assumed."""
        return f"speculation: {self.model.name} drafts; its prefill of the prompt is not timed"
