"""Drafts whose time is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.simulated.drafting.core import FloatArray, IntArray, check_draft
from tokenroof.deploy.simulated.memory import DraftMemory
from tokenroof.errors import InputError
from tokenroof.perf.compile import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDraft:
    """Drafting that takes a stated time per step, whatever drafts.

    Attributes
    ----------
    draft_tokens : int
        Tokens that are drafted and verified per step.
    acceptance_fraction : float
        Probability that a draft token is right, given that all before it were.
    draft_step_s : float
        What drafting adds to every step with decoding sequences. [s]
    """

    draft_tokens: int
    acceptance_fraction: float
    draft_step_s: float

    def __post_init__(self) -> None:
        check_draft(self.draft_tokens, self.acceptance_fraction)
        if not self.draft_step_s >= 0.0:
            raise InputError(f"draft_step_s must be at least 0, got {self.draft_step_s!r}.")

    def sample(
        self, pool: Pool, deployment: Deployment, columns: Columns, counts: IntArray, context: int
    ) -> FloatArray | None:
        """What drafting adds to a step, see ``Drafting``."""
        out = np.zeros((len(columns.names), counts.size))
        for name in ("time_s", "limit_s:latency"):
            if name in columns.names:
                out[columns.names.index(name)] = self.draft_step_s
        return out

    def memory(self, pool: Pool, deployment: Deployment) -> DraftMemory:
        """Not known, so nothing."""
        return DraftMemory()

    def note(self) -> str:
        """What is assumed."""
        return (
            f"speculation: drafting adds {self.draft_step_s * 1e3:g} ms to a step, as given; its memory and "
            "the energy of its arithmetic are not counted"
        )
