"""How what a plan found is called: deployments, objectives, targets, with their units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tokenroof.deploy.core import Infeasible, Metric, Role
from tokenroof.graph.core import Parallel
from tokenroof.report.human import digits, human, share
from tokenroof.report.labels import Shown, range_text, with_range
from tokenroof.search.asked import Target
from tokenroof.search.core import Candidate, Check, Choice, PlanResult, PoolPlan, Rejected

ARROW = " -> "
"""Between the chips of prefill and decode, as the search writes a family."""

OBJECTIVE_UNITS: Mapping[str, str] = {
    "usd_per_million_tokens": "USD/Mtok",
    "chips": "chips",
    "tokens_per_s_per_chip": "tokens/s per chip",
    "power_w": "W",
    "gco2e_per_million_tokens": "gCO2e/Mtok",
    "ttft_s": "s",
    "tpot_s": "s",
}
"""Units of ``search.asked.OBJECTIVES``."""

OBJECTIVE_LABELS: Mapping[str, str] = {
    "usd_per_million_tokens": "cost, prompt and answer",
    "chips": "chips",
    "tokens_per_s_per_chip": "all tokens/s per chip",
    "power_w": "power at the meter, mean",
    "gco2e_per_million_tokens": "carbon, prompt and answer",
    "ttft_s": "time to first token, mean",
    "tpot_s": "time per output token, mean",
}
"""What objectives are called."""

STAGES: Mapping[str, str] = {
    "layout": "not possible",
    "memory": "does not fit",
    "screen": "too slow in closed form",
    "limits": "beyond a limit",
    "bound": "cannot be better",
    "simulated": "misses a target, simulated",
}
"""Where candidates were turned away, in the order in which they are looked at."""

_BOUND = {"not simulated": "could be better in closed form; not simulated, as many others were"}
_QUANTITY = Shown(label="")


def ways(parallel: Parallel) -> str:
    """A sharding as a plan writes it: "TP4 PP2"."""
    found = {"TP": parallel.tp, "DP": parallel.dp, "EP": parallel.ep, "PP": parallel.pp, "CP": parallel.cp}
    return " ".join(f"{name}{count}" for name, count in found.items() if count > 1) or "TP1"


def pool_text(pool: PoolPlan, replicas: int) -> str:
    """A pool with its replicas: "5 x TP8 of h200", "3 x TP1 of b200 prefill"."""
    role = "" if pool.role is Role.BOTH else f" {pool.role.value}"
    return f"{replicas} x {ways(pool.parallel)} of {pool.chip}{role}"


def pools_text(choice: Choice) -> str:
    """All pools with their replicas, spares included."""
    return candidate_text(choice.candidate, choice.replicas)


def candidate_text(candidate: Candidate, replicas: Sequence[int]) -> str:
    """All pools of a candidate with so many replicas."""
    pairs = zip(candidate.pools, replicas, strict=True)
    return " + ".join(pool_text(pool, count) for pool, count in pairs)


def formats_text(choice: Choice) -> str:
    """Formats of weights and cache: "fp8, kv bf16"."""
    precision = choice.candidate.precision
    experts = f", experts {precision.experts}" if precision.experts != precision.weights else ""
    return f"{precision.weights}{experts}, kv {precision.kv}"


def engine_text(choice: Choice) -> str:
    """The engine and what is switched on: "vllm, prefix cache, drafts of 3 tokens"."""
    candidate = choice.candidate
    parts = list(dict.fromkeys(pool.engine for pool in candidate.pools))
    if candidate.drafting is not None:
        parts.append(
            f"{type(candidate.drafting).__name__} drafts of {candidate.drafting.draft_tokens} tokens"
        )
    if candidate.prefix_caching is not None:
        parts.append("prefix cache" if candidate.prefix_caching else "no prefix cache")
    parts += [f"evicted cache to {type(place).__name__}" for place in candidate.offload]
    return ", ".join(parts)


def step_text(pool: PoolPlan) -> str:
    """Limits of a step: "256 sequences, 8,192 tokens"."""
    return f"{pool.max_num_seqs:,} sequences, {pool.max_num_batched_tokens:,} tokens"


def steps_text(choice: Choice) -> str:
    """Limits of the steps of every pool, said once where they are the same."""
    return " + ".join(dict.fromkeys(step_text(pool) for pool in choice.candidate.pools))


def choice_text(choice: Choice) -> str:
    """The sum that the count is: "40 chips = 5 x TP8 of h200"."""
    return f"{chips_text(choice.chips)} = {pools_text(choice)}"


def chips_text(count: int) -> str:
    """A number of chips: "1 chip", "40 chips"."""
    return counted(count, "chip")


def counted(count: int, noun: str) -> str:
    """A number of things: "1 node", "2 nodes"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def family(choice: Choice) -> str:
    """The chips: "h200", "h100 -> h200" where prefill and decode are apart, as ``Rejected.family``."""
    return ARROW.join(pool.chip for pool in choice.candidate.pools)


def family_text(name: str) -> str:
    """Chips of a family as people read them: "h100", "h100 (prefill) + h200 (decode)"."""
    chips = name.split(ARROW)
    if len(chips) == 1:
        return name
    first, last = chips
    return f"{first}, prefill and decode apart" if first == last else f"{first} prefill, {last} decode"


def best_by_family(found: PlanResult) -> dict[str, Choice]:
    """The best that is shown of every family, the best first."""
    out: dict[str, Choice] = {}
    for choice in (*found.front, *found.others):
        out.setdefault(family(choice), choice)
    return out


# --- values --------------------------------------------------------------------------------------


def objective_text(name: str, value: float | None) -> str:
    """An objective with its unit; "n/a" when it is not known."""
    unit = OBJECTIVE_UNITS[name]
    return money(value, unit) if unit.startswith("USD") else human(value, unit)


def money(value: float | None, unit: str = "USD") -> str:
    """An amount to three digits, which tell deployments apart where cents do not: "$0.160/Mtok"."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"${digits(value)}{unit.removeprefix('USD')}"


def interval(low: float | None, high: float | None, value: float, unit: str) -> str:
    """The interval of a value as people read it, "31 - 45 ms"; "" when there is none."""
    return range_text(_QUANTITY, Metric(value=value, unit=unit, definition="", low=low, high=high))


def value_text(check: Check) -> str:
    """What a target gets: "0.71 s (0.6 - 0.9 s)"."""
    ends = interval(check.low, check.high, check.value, "s")
    return with_range(human(check.value, "s"), ends)


def readable(text: str, targets: Sequence[Target]) -> str:
    """Text with the names of targets as people read them: "TTFT p99" for "ttft_p99_s"."""
    for target in sorted(targets, key=lambda each: -len(each.name)):
        text = text.replace(target.name, target_name(target))
    return text


def target_name(target: Target) -> str:
    """What a target is about: "TTFT p99 of chat"."""
    return target.text.partition(" <= ")[0]


def of_limit(check: Check) -> float:
    """Value over limit."""
    return check.value / check.target.limit_s


def relative(value: float, other: float, *, better: str = "less", worse: str = "more") -> str:
    """How ``value`` stands to ``other``: "12 % more", "the same"; "" where one of them is not known."""
    if not (math.isfinite(value) and math.isfinite(other) and other):
        return "the same" if value == other else ""
    part = value / other - 1.0
    if abs(part) < 5e-4:
        return "the same"
    text = f"{abs(part) * 100:.1f} %" if abs(part) < 0.1 else share(abs(part))
    return f"{text} {worse if part > 0 else better}"


def problem_numbers(problem: Infeasible) -> tuple[str, str]:
    """What is needed and what there is, with units; "-" where either is not known."""

    def text(value: float | None) -> str:
        known = value is not None and value == value and problem.unit
        return human(value, problem.unit) if known else "-"

    return text(problem.need), text(problem.have)


def reason_text(row: Rejected) -> str:
    """Why candidates were turned away; what was never shown to be worse is not called so."""
    if row.stage == "bound":
        return _BOUND.get(row.reason, row.reason)
    return row.problem.reason or row.reason
