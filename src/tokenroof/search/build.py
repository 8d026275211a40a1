"""From a candidate and its replicas to a deployment that can be simulated."""

from __future__ import annotations

from collections.abc import Sequence

from tokenroof.deploy.core import Deployment, Pool, Role
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.search.asked import Question
from tokenroof.search.core import Candidate, PoolPlan
from tokenroof.search.space import Engines


class Builder:
    """Builds deployments of one question; the same limits of a step give the same engine object."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._chips = {chip.name: chip for chip in question.chips}
        self._engines = Engines(question.space.engines)

    def build(self, candidate: Candidate, replicas: Sequence[int]) -> tuple[Deployment, Serving]:
        """The deployment, and how it is served.

        Parameters
        ----------
        candidate : Candidate
            Of the question's space.
        replicas : sequence of int
            By pool.
        """
        question = self._question
        deployment = Deployment(
            model=question.model,
            precision=candidate.precision,
            pools=tuple(
                self.pool(plan, count) for plan, count in zip(candidate.pools, replicas, strict=True)
            ),
            expert_load_factor=question.expert_load_factor,
        )
        options = tuple(_options(candidate, plan.role) for plan in candidate.pools)
        return deployment, Serving(pools=options, spending=question.spending)

    def pool(self, plan: PoolPlan, replicas: int = 1) -> Pool:
        """One pool."""
        return Pool(
            chip=self._chips[plan.chip],
            engine=self._engines.limited(plan.engine, plan.max_num_seqs, plan.max_num_batched_tokens),
            parallel=plan.parallel,
            role=plan.role,
            replicas=replicas,
        )


def _options(candidate: Candidate, role: Role) -> PoolOptions:
    """A decode pool computes no prompts: it neither shares nor keeps what was evicted."""
    decodes = role is Role.DECODE
    return PoolOptions(
        drafting=None if role is Role.PREFILL else candidate.drafting,
        offload=() if decodes else candidate.offload,
        prefix_caching=False if decodes else candidate.prefix_caching,
    )
