"""The same candidate with other limits of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tokenroof.deploy.core import Role
from tokenroof.search.asked import Space
from tokenroof.search.core import Candidate, PoolPlan, Record
from tokenroof.search.space import batch_limits, token_budgets


def neighbours(space: Space, candidate: Candidate) -> Iterator[Candidate]:
    """The next limits of a step to either side, one pool and one limit at a time."""
    engines = {each.name: each for each in space.engines}
    for index, pool in enumerate(candidate.pools):
        engine = engines[pool.engine]
        others = [
            replace(pool, max_num_batched_tokens=tokens)
            for tokens in _beside(pool.max_num_batched_tokens, token_budgets(space, engine))
        ]
        others += [
            replace(pool, max_num_seqs=seqs)
            for seqs in _beside(pool.max_num_seqs, batch_limits(space, engine))
        ]
        for other in others:
            yield _with(candidate, index, other)


def _beside(mine: int, values: tuple[int, ...]) -> tuple[int, ...]:
    """The next smaller and the next larger value."""
    below = [each for each in values if each < mine]
    above = [each for each in values if each > mine]
    return (*below[-1:], *above[:1])


def remedies(space: Space, candidate: Candidate, record: Record, latency: str) -> Iterator[Candidate]:
    """What may bring down a latency that is nearly kept, in the pool that it hangs on.

    Time per token falls with smaller chunks and with fewer sequences at once, as long as there are more than
    there are on average; time to first token falls with larger chunks.
    """
    engines = {each.name: each for each in space.engines}
    for index, pool in enumerate(candidate.pools):
        engine = engines[pool.engine]
        budgets, limits = token_budgets(space, engine), batch_limits(space, engine)
        if latency in ("tpot", "itl"):
            if pool.role is Role.PREFILL:
                continue
            tag = "" if pool.role is Role.BOTH else f":{pool.role.value}"
            held = record.values.get(f"running_seqs{tag}", 1.0) / pool.parallel.dp
            seqs = [each for each in limits if held <= each < pool.max_num_seqs][:2]
            tokens = [each for each in budgets if each < pool.max_num_batched_tokens][-2:]
            tokens = [] if pool.role is Role.DECODE else tokens
        else:
            if pool.role is Role.DECODE:
                continue
            seqs, tokens = [], [each for each in budgets if each > pool.max_num_batched_tokens][:2]
        for budget in (pool.max_num_batched_tokens, *reversed(tokens)):
            for limit in (pool.max_num_seqs, *seqs):
                other = replace(pool, max_num_seqs=limit, max_num_batched_tokens=budget)
                if other != pool:
                    yield _with(candidate, index, other)


def _with(candidate: Candidate, index: int, pool: PoolPlan) -> Candidate:
    return replace(candidate, pools=(*candidate.pools[:index], pool, *candidate.pools[index + 1 :]))
