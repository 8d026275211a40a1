"""Which batching rule plans the next step of a replica."""

from __future__ import annotations

from tokenroof.serve.arrays import World
from tokenroof.serve.jit import jit
from tokenroof.serve.policies import vllm


@jit
def plan(w: World, r: int, now_s: float) -> None:
    """Plan the next step of replica ``r`` by the rule of its pool."""
    vllm.plan(w, r, now_s)
