"""The replica that has most of a prompt in its cache, while the load is in balance.

The rule of SGLang's router (``cache_aware``, ``sgl-router/src/policies/cache_aware.rs``), with its parameters
and the defaults of its launcher (``RouterArgs``). That router guesses what replicas have cached from what
it has sent them; here, as with llm-d's precise prefix scorer, it is what they really have. A prompt that
is still being computed is in no cache yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.serve.arrays import NONE, PREFIX_AFFINITY, World
from tokenroof.serve.jit import jit
from tokenroof.serve.prefix import match
from tokenroof.serve.progress import evict_until_now
from tokenroof.serve.routers.common import NOW, least_loaded, serves


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixAffinity:
    """Most cached tokens; least loaded when loads are far apart; emptiest cache when too little is cached.

    Attributes
    ----------
    cache_threshold : float
        A replica is chosen for its cache when it has more than this part of the prompt, 0 to 1.
    balance_abs_threshold : int
        Loads are far apart when the largest exceeds the smallest by more requests than this ...
    balance_rel_threshold : float
        ... and is more than so many times as large.
    """

    cache_threshold: float = 0.3
    balance_abs_threshold: int = 64
    balance_rel_threshold: float = 1.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.cache_threshold <= 1.0:
            raise InputError(f"cache_threshold must lie in 0..1, got {self.cache_threshold!r}.")
        if self.balance_abs_threshold < 0:
            raise InputError(f"balance_abs_threshold must be at least 0, got {self.balance_abs_threshold}.")
        if not self.balance_rel_threshold >= 1.0:
            raise InputError(f"balance_rel_threshold must be at least 1, got {self.balance_rel_threshold!r}.")

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {
            "router": PREFIX_AFFINITY,
            "cache_threshold": self.cache_threshold,
            "balance_abs_threshold": self.balance_abs_threshold,
            "balance_rel_threshold": self.balance_rel_threshold,
        }


@jit
def choose(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    least = least_loaded(w, stage)
    if least == NONE or w.prefix.start.size == 1 or _far_apart(w, least, stage):
        return least
    best, most = NONE, 0
    emptiest, fewest = least, w.prefix.counts[least]["present"]
    for r in range(w.rep.size):
        if not serves(w, r, stage, NOW):
            continue
        tokens = _cached_tokens(w, r, i)
        if tokens > most or (tokens == most and tokens > 0 and _less_loaded(w, r, best)):
            best, most = r, tokens
        present = w.prefix.counts[r]["present"]
        if present < fewest or (present == fewest and _less_loaded(w, r, emptiest)):
            emptiest, fewest = r, present
    return int(best if most > w.g[0]["cache_threshold"] * w.req[i]["isl"] else emptiest)


@jit
def _less_loaded(w: World, a: int, b: int) -> bool:
    return bool(w.rep[a]["outstanding"] < w.rep[b]["outstanding"])


@jit
def _far_apart(w: World, least: int, stage: int) -> bool:
    """Whether the load is out of balance."""
    smallest = w.rep[least]["outstanding"]
    largest = smallest
    for r in range(w.rep.size):
        if w.rep[r]["outstanding"] > largest and serves(w, r, stage, NOW):
            largest = w.rep[r]["outstanding"]
    g = w.g[0]
    return bool(
        largest - smallest > g["balance_abs_threshold"] and largest > g["balance_rel_threshold"] * smallest
    )


@jit
def _cached_tokens(w: World, r: int, i: int) -> int:
    """Leading tokens of prompt ``i`` that replica ``r`` has cached, whole units."""
    pool = w.pool[w.rep[r]["pool"]]
    if not pool["prefix"]:
        return 0
    evict_until_now(w, r)
    return int(match(w.prefix, r, i, w.req[i]["isl"] // pool["unit_tokens"]) * pool["unit_tokens"])
