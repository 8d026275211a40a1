"""Many design points in one call: the same formulas, with arrays in the batch and in the machine.

A design point is one decode step of ``batch`` sequences at ``context_tokens`` and one prefill of
``prompt_tokens``, on one machine. Any field of the machine may be an array too (a bandwidth, a peak,
a latency), which is what an architect sweeps.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.errors import InputError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch, prefill_batch
from tokenroof.perf.compile import Samples
from tokenroof.perf.core import Machine
from tokenroof.perf.energy import whole_energy_j
from tokenroof.perf.step import step_time
from tokenroof.perf.table import StepTable

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
T = TypeVar("T")

BLOCK_POINTS = 16_384
"""Points worked on at once: enough to hide the interpreter, few enough to stay near the processor."""


def design_points(
    model: ModelSpec,
    precision: Precision,
    parallel: Parallel,
    machine: Machine,
    *,
    batch: npt.ArrayLike,
    context_tokens: npt.ArrayLike,
    prompt_tokens: npt.ArrayLike,
) -> dict[str, FloatArray]:
    """Decode and prefill of every design point.

    Parameters
    ----------
    model, precision, parallel : ModelSpec, Precision, Parallel
        What runs, in which formats, spread how; the same for all points.
    machine : Machine
        On what; numbers may be arrays of shape (num_points,).
    batch, context_tokens, prompt_tokens : array_like of int
        Decoding sequences, their cached tokens, and the prompt; broadcast to (num_points,).

    Returns
    -------
    dict of str to FloatArray
        "decode_step_s", "decode_energy_j", "prefill_s", "prefill_energy_j", each (num_points,);
        energies are of one chip, static power included, nan when its power is unknown.

    Raises
    ------
    InputError
        Sizes that do not broadcast, or numbers below 1.
    """
    seqs, context, prompt = _points(batch, context_tokens, prompt_tokens)
    points = seqs.size
    names = ("decode_step_s", "decode_energy_j", "prefill_s", "prefill_energy_j")
    out = {name: np.empty(points) for name in names}
    for start in range(0, points, BLOCK_POINTS):
        block = slice(start, min(start + BLOCK_POINTS, points))
        part = _part(machine, block, points)
        for phase, work in (
            ("decode", decode_batch(seqs[block], context[block])),
            ("prefill", prefill_batch(np.ones_like(prompt[block]), prompt[block])),
        ):
            timed = step_time(step_ops(model, precision, parallel, work), part)
            out["decode_step_s" if phase == "decode" else "prefill_s"][block] = timed.time_s
            out[f"{phase}_energy_j"][block] = np.nan if timed.energy_j is None else timed.energy_j
    return out


def table_points(
    table: StepTable, *, batch: npt.ArrayLike, context_tokens: npt.ArrayLike, prompt_tokens: npt.ArrayLike
) -> dict[str, FloatArray]:
    """:func:`design_points` on one fixed machine, looked up in its compiled table; several times faster.

    Parameters
    ----------
    table : StepTable
        The compiled subject.
    batch, context_tokens, prompt_tokens : array_like of int
        As in :func:`design_points`.

    Returns
    -------
    dict of str to FloatArray
        The same names and shapes.

    Raises
    ------
    InputError
        As in :func:`design_points`.
    """
    seqs, context, prompt = _points(batch, context_tokens, prompt_tokens)
    decode = table.evaluate(decode_batch(seqs, context))
    prefill = table.evaluate(prefill_batch(np.ones_like(prompt), prompt))
    return {
        "decode_step_s": decode.time_s,
        "decode_energy_j": _whole_j(decode, table.subject.machine),
        "prefill_s": prefill.time_s,
        "prefill_energy_j": _whole_j(prefill, table.subject.machine),
    }


def _whole_j(samples: Samples, machine: Machine) -> FloatArray:
    whole_j = whole_energy_j(samples.energy_j, machine, samples.time_s)
    return np.broadcast_to(np.nan if whole_j is None else whole_j, samples.time_s.shape)


def _points(
    batch: npt.ArrayLike, context_tokens: npt.ArrayLike, prompt_tokens: npt.ArrayLike
) -> tuple[IntArray, IntArray, IntArray]:
    given = [np.asarray(value, dtype=np.int64) for value in (batch, context_tokens, prompt_tokens)]
    try:
        seqs, context, prompt = np.broadcast_arrays(*(np.atleast_1d(value) for value in given))
    except ValueError as error:
        raise InputError(f"batch, context_tokens and prompt_tokens do not broadcast: {error}.") from None
    if min(seqs.min(), context.min(), prompt.min()) < 1:
        raise InputError("batch, context_tokens and prompt_tokens must be at least 1 everywhere.")
    return seqs, context, prompt


def _part(value: T, block: slice, points: int) -> T:
    """``value`` with every array of ``points`` elements inside it cut to ``block``."""
    if isinstance(value, np.ndarray):
        cut: T = value[block] if value.shape == (points,) else value  # type: ignore[assignment]
        return cut
    if isinstance(value, dict):
        return {key: _part(item, block, points) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(_part(item, block, points) for item in value)  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: _part(getattr(value, field.name), block, points)
            for field in fields(value)
            if field.name != "efficiency"
        }
        return replace(value, **changed)
    return value
