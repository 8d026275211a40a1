"""Drafts from the model's own layers for multi-token prediction."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.simulated.drafting.core import (
    Drafter,
    FloatArray,
    IntArray,
    check_draft,
    one_layer,
    pass_samples,
)
from tokenroof.deploy.simulated.memory import DraftMemory
from tokenroof.errors import InputError
from tokenroof.graph.memory import kv_bytes_per_token_per_chip, weight_bytes_per_chip
from tokenroof.perf.compile import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Mtp:
    """Layers for multi-token prediction (DeepSeek-V3 and others), run once per draft token.

    Attributes
    ----------
    draft_tokens : int
        Tokens that are drafted and verified per step.
    acceptance_fraction : float
        Probability that a draft token is right, given that all before it were.
    """

    draft_tokens: int
    acceptance_fraction: float

    def __post_init__(self) -> None:
        check_draft(self.draft_tokens, self.acceptance_fraction)

    def drafter(self, deployment: Deployment) -> Drafter:
        """One such layer and the output head.

        Raises
        ------
        InputError
            The model has no such layers.
        """
        model = deployment.model
        if not model.mtp:
            raise InputError(
                f"{model.name} has no layers for multi-token prediction. Draft with another model, an EAGLE "
                "head or n-grams."
            )
        return Drafter(
            model=one_layer(model, model.mtp[0], f"{model.name} (multi-token prediction)"),
            precision=deployment.precision,
        )

    def sample(
        self, pool: Pool, deployment: Deployment, columns: Columns, counts: IntArray, context: int
    ) -> FloatArray | None:
        """What drafting adds to a step, see ``Drafting``."""
        once = pass_samples(pool, deployment, self.drafter(deployment), columns, counts, context)
        return self.draft_tokens * once

    def memory(self, pool: Pool, deployment: Deployment) -> DraftMemory:
        """The layers' weights, and the cache of those that run."""
        drafter = self.drafter(deployment)
        weights = weight_bytes_per_chip(deployment.model, deployment.precision, pool.parallel)["mtp"]
        one = kv_bytes_per_token_per_chip(drafter.model, drafter.precision, pool.parallel)
        own = sum(group.count for group in deployment.model.mtp)
        return DraftMemory(
            weights_bytes=float(weights), bytes_per_token=float(one * min(own, self.draft_tokens))
        )

    def note(self) -> str:
        """What is assumed."""
        return "speculation: every draft token takes one layer for multi-token prediction and the output head"
