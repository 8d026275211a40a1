"""What attention chips and feed-forward chips did in a run, each for themselves.

The whole table's visits say how often a step of so many sequences had which context. Cut into
micro-batches again, they become visits of the table of attention alone, and numbers of tokens that the
feed-forward chips saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tokenroof.deploy.halves.sums import Visits, attention_sums, cut_visits, feed_forward_sums
from tokenroof.deploy.simulated.halves import ServedHalves
from tokenroof.deploy.simulated.pools import Served
from tokenroof.deploy.simulated.spent import PoolWork, paid_s
from tokenroof.perf.flat import flat_layout
from tokenroof.serve.results import Run

HOST, WAITING = "limit_s:host", "limit_s:waiting"
"""Time of the host, and time in which chips wait for the other half of a layer, or for the wires."""


def halves_work(run: Run, index: int, served: ServedHalves, span_s: float) -> tuple[PoolWork, PoolWork]:
    """Sums over the attention chips and over the feed-forward chips.

    Parameters
    ----------
    run : Run
        The whole.
    index : int
        Which pool.
    served : ServedHalves
        It.
    span_s : float
        Time over which replicas are paid for. [s]
    """
    mine = run.replicas["pool"] == index
    up_s, busy_s, slowed_s = (
        float(run.replicas[name][mine].sum()) for name in ("up_s", "busy_s", "slowed_s")
    )
    seen = visits_of(run, index, served)
    in_steps_s = max(0.0, busy_s - slowed_s)
    steps = float(seen.steps.sum())
    host_s = min(served.table.overhead_s * steps, in_steps_s)
    works = []
    sides = (attention_sums(served.steps, seen), feed_forward_sums(served.steps, seen))
    for sums, hosted_s, pool in zip(sides, (host_s, 0.0), (served.pool, served.feed_forward), strict=True):
        own_s = working_s(sums)
        left_s = max(0.0, in_steps_s - own_s - hosted_s)
        works.append(
            PoolWork(
                served=Served(
                    pool=pool,
                    options=served.options,
                    size=served.size,
                    table=served.table,
                    setup=served.setup,
                    context_tokens=served.context_tokens,
                ),
                sums=sums | {HOST: hosted_s, WAITING: left_s},
                up_s=up_s,
                busy_s=busy_s,
                paid_s=paid_s(run, index, up_s, span_s),
                decode_busy_s=busy_s,
                decode_seqs=float(seen.steps @ seen.seqs) / steps if steps else 0.0,
                in_flight=1,
            )
        )
    return works[0], works[1]


def working_s(sums: Mapping[str, float]) -> float:
    """Time in which the chips' own operators run. [s]"""
    others = (HOST, WAITING)
    return sum(value for name, value in sums.items() if name.startswith("limit_s:") and name not in others)


def visits_of(run: Run, index: int, served: ServedHalves) -> Visits:
    """The visits of the whole table, by micro-batch."""
    setup, visits, table = run.setup.pools[index], run.visits[index], served.setup.table
    layout = flat_layout(table, max(1, int(setup.scheduler.settings()["max_seqs"])))
    grid = visits[layout.decode_offset : layout.prefill_offset].reshape(layout.decode_rows, -1)
    seqs = np.flatnonzero(grid.any(axis=1))
    lane, where = table.lanes[0], layout.lanes[0]
    prompts = np.concatenate((np.arange(where.dense_size), lane.tail))
    often = visits[where.dense_offset : where.tail_offset + where.tail_size]
    some = often > 0.0
    return replace(
        cut_visits(served.steps, seqs, grid[seqs]),
        prompts=prompts[some],
        prompt_steps=often[some],
        prefill=visits[layout.prefill_offset :],
    )
