"""Every operator's time: importing this module registers all formulas on ``dispatch.op_time``."""

from __future__ import annotations

from tokenroof.graph.core import Op
from tokenroof.perf import attention, collectives, dispatch, elementwise, gemm, mla, moe, recurrent
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.tuned import tuned_time

FORMULA_MODULES = (attention, collectives, elementwise, gemm, mla, moe, recurrent)


def op_time(op: Op, machine: Machine) -> OpTime:
    """Where the time of all ``op.count`` runs of an operator goes on a machine.

    Parameters
    ----------
    op : Op
        A concrete operator; its shapes may be arrays.
    machine : Machine
        Peaks, tiers, achieved fractions and corrections; any number may be an array.

    Returns
    -------
    OpTime
        By the formula of its type (``dispatch.op_time``), with the machine's corrections. [s]
    """
    return tuned_time(dispatch.op_time(op, machine), machine)
