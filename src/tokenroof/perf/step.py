"""Operators of one engine step become the time of that step."""

from __future__ import annotations

from collections.abc import Iterable

from tokenroof.graph.core import Num, Op
from tokenroof.perf.core import Machine, StepTime
from tokenroof.perf.energy import whole_energy_j
from tokenroof.perf.operators import op_time


def step_time(ops: Iterable[Op], machine: Machine) -> StepTime:
    """Time and energy of one engine step on one chip.

    Parameters
    ----------
    ops : iterable of Op
        What the busiest chip runs (``graph.build.step_ops``); with pipeline stages, all stages after
        one another, so the result is the time of one micro-batch through the whole pipeline.
    machine : Machine
        The chip; its fields may be arrays, times then broadcast.

    Returns
    -------
    StepTime
        ``time_s`` is the sum of the operators' exposed times (a collective's is already net of what
        the engine hides behind compute) plus the host's ``step_overhead_s``, which is net of what
        asynchronous scheduling hides. [s]
        ``energy_j`` is dynamic energy plus static power over the step, on one chip, within the board's
        limit; None when the chip's power is unknown. [J]
    """
    timed = tuple(op_time(op, machine) for op in ops)
    time_s: Num = machine.step_overhead_s
    dynamic_j: Num | None = 0.0
    for item in timed:
        time_s = time_s + item.time_s
        dynamic_j = None if dynamic_j is None or item.energy_j is None else dynamic_j + item.energy_j
    return StepTime(
        ops=timed,
        overhead_s=machine.step_overhead_s,
        time_s=time_s,
        energy_j=whole_energy_j(dynamic_j, machine, time_s),
    )
