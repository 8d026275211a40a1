"""TensorRT-LLM's attention_dp_config: prompts wait until every data parallel rank has one; compiled.

The ranks of a replica step together, so a prompt at one of them is waited for by all. With
``enable_balance`` contexts are held back until each rank has one, for ``timeout_iters`` steps at most; once
they have met, for ``batching_wait_iters`` more, so that more come along (``_balance_adp_requests`` of
``pyexecutor/py_executor.py``, TensorRT-LLM #6061). Nothing is held back while a rank has nothing to decode.

A request goes to the rank with the fewest, which is where one has just ended: ranks get theirs by chance,
and all of ``n`` have one after ``n (1 + 1/2 + ... + 1/n)`` prompts in the mean.
"""

from __future__ import annotations

from tokenroof.serve.ahead import known
from tokenroof.serve.arrays import DECODING, LEVELS, NONE, PREFILLING, World
from tokenroof.serve.jit import jit
from tokenroof.serve.lists import COUNT, HEAD
from tokenroof.serve.policies.common import held_seqs, next_waiting


@jit
def prompts_for_all(ranks: int) -> float:
    """Prompts until each of so many ranks has one, in the mean."""
    total = 0.0
    for left in range(1, ranks + 1):
        total += ranks / left
    return total


@jit
def _known_prompts(w: World, r: int) -> int:
    """Prompts in the lines of replica ``r`` that its plan knows of."""
    count = 0
    for level in range(LEVELS):
        i = w.lists[r, level, HEAD]
        while i != NONE:
            count += int(known(w, r, i))
            i = w.req[i]["after"]
    return count


@jit
def hold_steps(w: World, r: int) -> int:
    """Decode steps of replica ``r`` before it looks again whether prompts are let in; 0: they are now."""
    replica = w.rep[r]
    pool = w.pool[replica["pool"]]
    if not pool["balance"] or pool["dp"] == 1:
        return 0
    i = next_waiting(w, r)
    none = i == NONE or w.req[i]["home"] != NONE or held_seqs(w, r) >= pool["max_seqs"]
    if none or w.lists[r, DECODING, COUNT] < pool["dp"] or w.lists[r, PREFILLING, COUNT] > 0:
        replica["held_at"] = replica["met_at"] = 0
        return 0
    now = replica["done_steps"] + 1  # 0 is: not yet
    if replica["held_at"] == 0:
        replica["held_at"] = now
    prompts = _known_prompts(w, r)
    if replica["met_at"] == 0 and prompts >= round(prompts_for_all(pool["dp"])):
        replica["met_at"] = now
    if replica["met_at"] > 0:
        left = pool["gather_steps"] - (now - replica["met_at"])
    else:
        left = pool["hold_steps"] - (now - replica["held_at"])
    if left > 0:
        return int(left) if prompts == replica["waiting"] else 1
    replica["held_at"] = replica["met_at"] = 0
    return 0
