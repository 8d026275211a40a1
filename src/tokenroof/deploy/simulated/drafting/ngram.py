"""Drafts copied from the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.simulated.drafting.core import FloatArray, IntArray, check_draft
from tokenroof.deploy.simulated.memory import DraftMemory
from tokenroof.perf.compile import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class NGram:
    """Prompt look-up: the tokens that followed the same words earlier on. It runs on the host.

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

    def sample(
        self, pool: Pool, deployment: Deployment, columns: Columns, counts: IntArray, context: int
    ) -> FloatArray | None:
        """What drafting adds to a step, see ``Drafting``."""
        return None

    def memory(self, pool: Pool, deployment: Deployment) -> DraftMemory:
        """Nothing."""
        return DraftMemory()

    def note(self) -> str:
        """What is assumed."""
        return "speculation: look-up of n-grams takes no time on the chips and hides on the host"
