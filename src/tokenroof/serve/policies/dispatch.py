"""Which batching rule plans the next step of a replica."""

from __future__ import annotations

from tokenroof.serve.arrays import SGLANG, STATIC, TRTLLM, World
from tokenroof.serve.jit import jit
from tokenroof.serve.policies import sglang, static, trtllm, vllm


@jit
def plan(w: World, r: int, now_s: float) -> int:
    """Plan the next step of replica ``r`` by the rule of its pool.

    Returns
    -------
    int
        After so many decode steps the rule has to be asked again, if nothing has happened until then.
    """
    policy = w.pool[w.rep[r]["pool"]]["policy"]
    if policy == SGLANG:
        return int(sglang.plan(w, r, now_s))
    if policy == TRTLLM:
        return int(trtllm.plan(w, r, now_s))
    if policy == STATIC:
        return int(static.plan(w, r, now_s))
    return int(vllm.plan(w, r, now_s))
