"""Whether a simulation keeps what is asked, and which pool is short when it does not."""

from __future__ import annotations

import math

from tokenroof.deploy.core import Role
from tokenroof.search.asked import Question, Target
from tokenroof.search.core import Candidate, Check, Record


def value_of(record: Record, target: Target, classes: int = 2) -> float:
    """The metric of a target; nan when there is none."""
    name = target.name
    if name in record.values:
        return record.values[name]
    plain = name.partition(":")[0]
    if target.request_class and classes == 1:
        return record.values.get(plain, math.nan)
    # answers of one token have no time per token
    answered = record.values.get("ttft_s", math.nan) > 0.0
    return 0.0 if target.latency in ("tpot", "itl") and answered else math.nan


def checks_of(question: Question, record: Record) -> tuple[Check, ...]:
    """Every target, with the interval of its metric."""
    return tuple(
        Check(
            target=target,
            value=value_of(record, target),
            low=record.low.get(target.name),
            high=record.high.get(target.name),
        )
        for target in question.targets
    )


LOST, QUEUE, GOOD = "lost requests", "growing queue", "good_fraction"
"""What is not kept beside targets."""


def missed(question: Question, record: Record) -> str:
    """What a simulation does not keep, in one line; "" when it keeps everything."""
    return shortfall(question, record)[1]


def shortfall(question: Question, record: Record) -> tuple[str, str]:
    """What a simulation does not keep: its name (a target's, or one of the above), and in one line."""
    if record.infeasible:
        return record.infeasible.partition(":")[0], record.infeasible
    worst = worst_check(question, record)
    if worst is not None and not worst.met:
        target, value = worst.target, worst.value
        found = "nothing was completed" if math.isnan(value) else f"is {value:.4g} s"
        return target.name, f"{target.name} {found} > {target.limit_s:.4g} s"
    lost = record.values.get("rejected_requests", 0.0) + record.values.get("failed_requests", 0.0)
    if lost > 0.0:
        return LOST, f"{lost:g} requests were rejected or lost"
    growth = record.values.get("queue_growth_requests_per_s", 0.0)
    if growth > 0.0:
        return QUEUE, f"the queue grows by {growth:.3g} requests per second"
    asked, good = question.limits.good_fraction, record.values.get("good_fraction", math.nan)
    if asked is not None and not good >= asked:
        return GOOD, f"{good:.2%} of the requests are good, {asked:.2%} asked"
    return "", ""


def worst_check(question: Question, record: Record) -> Check | None:
    """The target that is missed by most, or met by least."""

    def over(check: Check) -> float:
        return math.inf if math.isnan(check.value) else check.value / check.target.limit_s

    return max(checks_of(question, record), key=over, default=None)


def short_pool(question: Question, candidate: Candidate, record: Record) -> int:
    """The pool that is to blame for what is missed: where requests wait, or by the latency itself."""
    if len(candidate.pools) == 1:
        return 0
    worst = worst_check(question, record)
    if worst is not None and not worst.met and worst.target.latency in ("tpot", "itl"):
        return 1
    waiting = [record.values.get(f"waiting_seqs:{role.value}", 0.0) for role in (Role.PREFILL, Role.DECODE)]
    busy = [record.values.get(f"busy_fraction:{role.value}", 0.0) for role in (Role.PREFILL, Role.DECODE)]
    if max(waiting) > 0.05:
        return 0 if waiting[0] >= waiting[1] else 1
    return 0 if (worst is not None and worst.target.latency == "ttft") or busy[0] >= busy[1] else 1
