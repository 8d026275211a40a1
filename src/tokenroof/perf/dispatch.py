"""The seam between work and time: one function, dispatched on the operator's type."""

from __future__ import annotations

from functools import singledispatch

from tokenroof.graph.core import Op
from tokenroof.perf.core import Machine, OpTime


@singledispatch
def op_time(op: Op, machine: Machine) -> OpTime:
    """Where the time of all ``op.count`` runs of an operator goes on a machine.

    Parameters
    ----------
    op : Op
        A concrete operator; its shapes may be arrays.
    machine : Machine
        Peaks, tiers and achieved fractions; any number may be an array.

    Returns
    -------
    OpTime
        Total and by limiting resource. [s]

    Raises
    ------
    TypeError
        No formula is registered for this operator: a bug of ours.
    """
    raise TypeError(f"no time formula is registered for the operator type {type(op).__name__}")
