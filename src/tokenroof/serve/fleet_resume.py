"""Before a failure work is broken off, after it requests are sent again; compiled.

Apart from ``fleet``, so that what replicas do and how requests find one is compiled into few functions.
"""

from __future__ import annotations

from tokenroof.serve.account import note
from tokenroof.serve.arrays import IDLE, LOST, NONE, World
from tokenroof.serve.events import INF, set_end
from tokenroof.serve.jit import jit
from tokenroof.serve.lists import HEAD, remove
from tokenroof.serve.moves import FAILED, end, release_home
from tokenroof.serve.progress import steps_done, steps_take_s
from tokenroof.serve.replica import dispatch, look_again, settle

TOO_OFTEN = 3


@jit
def break_off(w: World, row: int, now_s: float) -> None:
    """Replicas that fail now stop: decode steps that have ended count, the one in progress is lost."""
    while row < w.incident.size and w.incident[row]["at_s"] == now_s:
        r = w.incident[row]["replica"]
        if w.incident[row]["slow"] == INF and w.rep[r]["kind"] != IDLE:
            note(w, r, now_s)
            steps = steps_done(w, r, now_s)
            if steps > 0:
                w.rep[r]["steps"] = steps
                settle(w, r, w.rep[r]["start_s"] + steps_take_s(w, r, steps))
            w.rep[r]["kind"] = IDLE
            w.rep[r]["steps"] = 0
            set_end(w, r, INF)
        row += 1


@jit
def send_again(w: World, now_s: float) -> None:
    """Who is in a list ``LOST`` finds another replica, or is given up."""
    for r in range(w.rep.size):
        while w.lists[r, LOST, HEAD] != NONE:
            i = w.lists[r, LOST, HEAD]
            remove(w, r, LOST, i)
            request = w.req[i]
            if request["retries"] <= w.g[0]["max_retries"]:
                dispatch(w, i, now_s, 0)
                continue
            home = request["home"]
            if home != NONE:
                note(w, home, now_s)
                release_home(w, home, i)
                look_again(w, home)
            request["reason"] = TOO_OFTEN
            end(w, i, FAILED, now_s)
