"""Why prefill and decode are better together, or apart: what, taken away, would change the winner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tokenroof.search.answers.closed import as_asked
from tokenroof.search.answers.core import (
    APART,
    HANDOFF,
    IDLE_POOL,
    INTERFERENCE,
    LIMITS,
    MEMORY,
    NEITHER,
    NO_FABRIC,
    OWN_LAYOUTS,
    SHARED_STEPS,
    TARGETS,
    TOGETHER,
    WHOLE_REPLICAS,
    Best,
)
from tokenroof.search.core import Rejected

_STAGES = ("layout", "memory", "screen", "limits")
"""Where candidates end, the furthest last."""

MOSTLY = 0.5
"""Targets are the reason when without them less than this part of the gain is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The best together and the best apart.

    Attributes
    ----------
    together, apart : Best or None
        None when there is none.
    costs : tuple of float
        Of both, less being better; infinite when there is none.
    rejected : tuple of tuples of Rejected
        What was turned away of both.
    """

    together: Best | None
    apart: Best | None
    costs: tuple[float, float]
    rejected: tuple[tuple[Rejected, ...], tuple[Rejected, ...]] = ((), ())

    @property
    def winner(self) -> str:
        """Of equal ones together."""
        one, other = self.costs
        if math.isinf(one) and math.isinf(other):
            return NEITHER
        return APART if other < one - 1e-9 * abs(one) or math.isinf(one) else TOGETHER

    @property
    def gain_fraction(self) -> float:
        """Difference of the values over that of the loser."""
        if self.winner == NEITHER:
            return math.nan
        if self.together is None or self.apart is None:
            return math.inf
        best, worse = self.together.value, self.apart.value
        if self.winner == APART:
            best, worse = worse, best
        return abs(best - worse) / abs(worse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """The same place with one thing taken away; worked out when asked for.

    Attributes
    ----------
    at_once : callable
        Caches are handed over in no time.
    large : callable
        A load so large that whole replicas do not matter, without limits.
    untargeted : callable
        No targets.
    """

    at_once: Callable[[], Pair]
    large: Callable[[], Pair]
    untargeted: Callable[[], Pair]


def reason_of(pair: Pair, otherwise: Otherwise, handoff_s: float) -> tuple[str, str]:
    """The reason, and the same in one line.

    Parameters
    ----------
    pair : Pair
        What wins.
    otherwise : Otherwise
        What would.
    handoff_s : float
        Of the best apart, for the line. [s]
    """
    if pair.winner == NEITHER:
        return _furthest(pair.rejected[0] + pair.rejected[1])
    if pair.winner == TOGETHER:
        return _why_together(pair, otherwise, handoff_s)
    return _why_apart(pair, otherwise)


def _why_together(pair: Pair, otherwise: Otherwise, handoff_s: float) -> tuple[str, str]:
    instant = otherwise.at_once()
    if instant.winner == APART or (pair.apart is None and instant.apart is not None):
        took = "too long a hand-off" if math.isnan(handoff_s) else f"a hand-off of {handoff_s:.3g} s"
        return HANDOFF, f"{took}: with none, apart would {_compared(instant)}"
    if pair.apart is None:
        return _furthest(pair.rejected[1])
    large = otherwise.large()
    if large.winner == APART:
        counts = " + ".join(str(count) for count in pair.apart.replicas)
        text = f"{counts} whole replicas idle in part: at a large load apart would {_compared(large)}"
        return IDLE_POOL, text
    return SHARED_STEPS, (
        f"apart would {_compared(large)} at any load: prompts use the arithmetic that decode leaves idle"
    )


def _why_apart(pair: Pair, otherwise: Otherwise) -> tuple[str, str]:
    if pair.together is None:
        reason, text = _furthest(pair.rejected[0])
        if reason != TARGETS:
            return reason, text
        return INTERFERENCE, f"together, prompts delay decode: {text}"
    free = otherwise.untargeted()
    if free.winner != APART or free.gain_fraction < MOSTLY * pair.gain_fraction:
        return INTERFERENCE, (
            f"the targets leave little room for prompts beside decode: without targets apart would "
            f"{_compared(free)}"
        )
    if otherwise.large().winner != APART:
        return WHOLE_REPLICAS, "together needs one replica more than it fills: at a large load it would win"
    text = f"each pool is cut and batched for its phase: without targets apart would {_compared(free)}"
    return OWN_LAYOUTS, text


def _compared(pair: Pair) -> str:
    """What apart would do in a pair: "win by 12 %"."""
    if pair.apart is None:
        return "not be possible"
    if pair.together is None:
        return "be the only one"
    if pair.gain_fraction < 5e-4:
        return "be as good"
    return f"{'win' if pair.winner == APART else 'lose'} by {pair.gain_fraction:.1%}"


def _furthest(rejected: Iterable[Rejected]) -> tuple[str, str]:
    """What is in the way of those that come nearest."""
    known = [each for each in rejected if each.stage in _STAGES]
    if not known:
        return TARGETS, "no layout of the space is legal"
    row = max(known, key=lambda each: (_STAGES.index(each.stage), each.count))
    named = {"memory": MEMORY, "limits": LIMITS, "fabric": NO_FABRIC}
    text = row.problem.reason
    if row.problem.unit == "s" and row.problem.need is not None and row.problem.have is not None:
        need, have = as_asked(row.problem.need), as_asked(row.problem.have)
        text = f"{row.reason}: {need:.4g} s at best, {have:.4g} s asked"
    return named.get(row.reason, named.get(row.stage, TARGETS)), text
