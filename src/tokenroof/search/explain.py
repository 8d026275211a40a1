"""The arithmetic of a choice in lines: how many chips, why so many, what binds."""

from __future__ import annotations

from collections.abc import Sequence

from tokenroof.search.asked import Load, Question
from tokenroof.search.core import Candidate, Check, Fewer, PoolPlan, Record
from tokenroof.search.fewest import Counts


def why_lines(
    question: Question,
    load: Load,
    candidate: Candidate,
    needed: Counts,
    bought: Counts,
    checks: Sequence[Check],
    fewer: Sequence[Fewer],
    served: Record,
) -> tuple[str, ...]:
    """Why this deployment has as many chips as it has, the count first."""
    chips = [pool.parallel.chips * count for pool, count in zip(candidate.pools, bought, strict=True)]
    terms = [f"{count} x {_replica(pool)}" for pool, count in zip(candidate.pools, bought, strict=True)]
    lines = [f"{sum(chips)} chips = {' + '.join(terms)}"]
    rate = load.requests_per_s
    asked = rate * (1.0 + question.headroom_fraction)
    more = f" with {question.headroom_fraction:.0%} headroom" if question.headroom_fraction else ""
    for pool, count in zip(candidate.pools, needed, strict=True):
        each = "" if count == 1 else f", {asked / count:.3g} for each of {count}"
        lines.append(f"{_role(pool)}: {asked:.3g} requests/s{more}{each}")
    if question.spare_replicas:
        lines.append(
            f"{question.spare_replicas} more of each for replicas that fail (N+{question.spare_replicas})"
        )
    worst = max(checks, key=lambda check: check.value / check.target.limit_s, default=None)
    if worst is not None:
        part = worst.value / worst.target.limit_s
        lines.append(f"nearest to its limit: {worst.target.text}, at {worst.value:.3g} s ({part:.0%} of it)")
    for less in fewer:
        counts = " + ".join(str(count) for count in less.replicas)
        lines.append(f"with {counts} replicas: {less.missed or 'all targets are kept'}")
    busy = [value for name, value in served.values.items() if name.startswith("busy_fraction")]
    if busy:
        lines.append(f"busy {', '.join(f'{value:.0%}' for value in busy)} of the time")
    return tuple(lines)


def _role(pool: PoolPlan) -> str:
    return f"{pool.role.value} on {pool.chip}" if pool.role.value != "both" else pool.chip


def _replica(pool: PoolPlan) -> str:
    parallel = pool.parallel
    ways = {"TP": parallel.tp, "DP": parallel.dp, "EP": parallel.ep, "PP": parallel.pp, "CP": parallel.cp}
    words = " ".join(f"{name}{count}" for name, count in ways.items() if count > 1) or "TP1"
    role = "" if pool.role.value == "both" else f" {pool.role.value}"
    return f"{words} of {pool.chip}{role}"
