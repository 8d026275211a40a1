"""A conversation stays where its cache is."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.serve.arrays import NONE, SESSION_AFFINITY, World
from tokenroof.serve.jit import jit
from tokenroof.serve.routers.common import NOW, least_loaded, serves

DECODE_STAGE = 2


@dataclass(frozen=True, slots=True)
class SessionAffinity:
    """The replica of the conversation's last turn while that serves; else the least loaded.

    With prefill and decode apart a conversation stays on its prefill replica, where prompts are cached;
    decode replicas, which cache nothing for later turns, are taken by load.
    """

    def settings(self) -> dict[str, float]:
        """See ``serve.core.Router``."""
        return {"router": SESSION_AFFINITY}


@jit
def choose(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``, or ``NONE``."""
    session = w.req[i]["session"]
    if session < 0 or stage == DECODE_STAGE:
        return least_loaded(w, stage)
    known = w.sticky[session]
    if known != NONE and serves(w, known, stage, NOW):
        return int(known)
    found = least_loaded(w, stage)
    w.sticky[session] = found
    return found
