"""Which rule finds a replica for a request."""

from __future__ import annotations

from tokenroof.serve.arrays import (
    NONE,
    POWER_OF_TWO,
    PREFIX_AFFINITY,
    ROUND_ROBIN,
    SESSION_AFFINITY,
    World,
)
from tokenroof.serve.fleet_status import call_up
from tokenroof.serve.jit import jit
from tokenroof.serve.routers import (
    least_loaded,
    power_of_two,
    prefix_affinity,
    round_robin,
    session_affinity,
)
from tokenroof.serve.routers.common import soonest


@jit
def route(w: World, i: int, stage: int) -> int:
    """The replica for request ``i``: one that serves now, else one that will, or ``NONE``.

    Who waits for a replica that will serve is sent anew as soon as any replica serves: the line is the
    router's (``fleet``). When there is nobody at all, an autoscaled pool starts one.
    """
    found = _by_rule(w, i, stage)
    if found == NONE:
        found = soonest(w, stage)
    if found == NONE:
        found = call_up(w, stage)
    return found


@jit
def _by_rule(w: World, i: int, stage: int) -> int:
    rule = w.g[0]["router"]
    if rule == ROUND_ROBIN:
        return round_robin.choose(w, i, stage)
    if rule == POWER_OF_TWO:
        return power_of_two.choose(w, i, stage)
    if rule == PREFIX_AFFINITY:
        return prefix_affinity.choose(w, i, stage)
    if rule == SESSION_AFFINITY:
        return session_affinity.choose(w, i, stage)
    return least_loaded.choose(w, i, stage)
