"""Drafts from a head trained on the model's hidden states (EAGLE)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.simulated.drafting.core import (
    Drafter,
    FloatArray,
    IntArray,
    check_draft,
    dense_layer,
    drafter_parallel,
    one_layer,
    pass_samples,
)
from tokenroof.deploy.simulated.memory import DraftMemory
from tokenroof.errors import InputError
from tokenroof.graph.memory import kv_bytes_per_token_per_chip, weight_bytes_per_chip
from tokenroof.perf.compile import Columns

JOINED = 2
"""Hidden states that an EAGLE head reads side by side: the target's and the embedding of the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eagle:
    """One dense decoder layer fed with hidden states and embeddings, run once per draft token.

    Attributes
    ----------
    draft_tokens : int
        Tokens that are drafted and verified per step (a chain, not a tree).
    acceptance_fraction : float
        Probability that a draft token is right, given that all before it were.
    vocab : int or None
        Vocabulary of the head; None: the target's (EAGLE-3 heads often have 32000).
    """

    draft_tokens: int
    acceptance_fraction: float
    vocab: int | None = None

    def __post_init__(self) -> None:
        check_draft(self.draft_tokens, self.acceptance_fraction)
        if self.vocab is not None and self.vocab < 1:
            raise InputError(f"the vocabulary of a head must be at least 1, got {self.vocab}.")

    def drafter(self, deployment: Deployment) -> Drafter:
        """The layer and the output head, in 16 bits."""
        model = deployment.model
        head = one_layer(model, dense_layer(model, JOINED), f"{model.name} (EAGLE head)")
        formats = replace(
            deployment.precision, weights="bf16", experts="bf16", activations="bf16", expert_activations=""
        )
        return Drafter(model=replace(head, vocab=self.vocab or model.vocab), precision=formats)

    def sample(
        self, pool: Pool, deployment: Deployment, columns: Columns, counts: IntArray, context: int
    ) -> FloatArray | None:
        """What drafting adds to a step, see ``Drafting``."""
        once = pass_samples(pool, deployment, self.drafter(deployment), columns, counts, context)
        return self.draft_tokens * once

    def memory(self, pool: Pool, deployment: Deployment) -> DraftMemory:
        """The layer's weights and cache; embedding and a full output head are the target's."""
        drafter = self.drafter(deployment)
        parallel = drafter_parallel(pool)
        roles = weight_bytes_per_chip(drafter.model, drafter.precision, parallel)
        shared = 0 if self.vocab is not None else roles["embedding"]
        return DraftMemory(
            weights_bytes=float(sum(roles.values()) - shared),
            bytes_per_token=float(kv_bytes_per_token_per_chip(drafter.model, drafter.precision, parallel)),
        )

    def note(self) -> str:
        """What is assumed."""
        return (
            "speculation: an EAGLE head is one dense layer as wide as what the model runs per token, in 16 "
            "bits, and an output head; a chain of drafts, no tree"
        )
