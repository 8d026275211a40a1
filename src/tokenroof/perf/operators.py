"""Every operator's time: importing this module registers all formulas on :func:`op_time`."""

from __future__ import annotations

from tokenroof.perf import attention, collectives, elementwise, gemm, mla, moe, recurrent
from tokenroof.perf.dispatch import op_time

FORMULA_MODULES = (attention, collectives, elementwise, gemm, mla, moe, recurrent)

__all__ = ["FORMULA_MODULES", "op_time"]
