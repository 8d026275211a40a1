"""Samples of steps before corrections, by class of operator: corrections are linear in them.

Machines that differ in their corrections alone share these samples, so that a table with other
corrections costs a few sums: what makes it possible to fit corrections to hundreds of servings.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Num, Parallel
from tokenroof.perf import compile as compiler
from tokenroof.perf.compile import EVERYTHING, FIELDS, Columns, FloatArray, IntArray, Samples, Subject
from tokenroof.perf.core import Machine, OpTime, Tuned
from tokenroof.perf.features import DECODE, PREFILL
from tokenroof.perf.tuned import (
    CLASSES,
    FACTORS,
    PROMPT_ATTENTION,
    SAMPLING,
    corrected_s,
    prompt_layers,
    sampled_rows,
)
from tokenroof.perf.watch import watched

_ENERGY, _COMPUTE = "energy_j", "compute_s"
_LAYERS, _SAMPLED = "prompt_layers", "sampled_rows"


def _numbers(timed: OpTime, machine: Machine) -> dict[str, Num]:
    name = CLASSES[type(timed.op)]
    layers = {_LAYERS: prompt_layers(timed)} if isinstance(timed.op, PROMPT_ATTENTION) else {}
    if timed.op.name == SAMPLING:
        layers |= {_SAMPLED: sampled_rows(timed)}
    return layers | {
        f"time:{name}": timed.time_s,
        f"latency:{name}": timed.latency_s,
        _ENERGY: np.nan if timed.energy_j is None else timed.energy_j,
        _COMPUTE: compiler.ideal_compute_s(timed, machine),
    }


def parts_of(subject: Subject) -> dict[str, Columns]:
    """What is sampled, by section of a step: times of the classes that its operators are of."""
    everything = Batch(**dict.fromkeys(FIELDS, EVERYTHING), decode_tokens=subject.decode_tokens)
    ops = step_ops(
        subject.model, subject.precision, subject.parallel, everything, hot_factor=subject.hot_factor
    )
    found: dict[str, list[str]] = {}
    for op, section in zip(ops, subject.classes, strict=True):
        name = CLASSES[type(op)]
        found.setdefault(section, []).extend((f"time:{name}", f"latency:{name}"))
        if isinstance(op, PROMPT_ATTENTION):
            found[section].append(_LAYERS)
        if op.name == SAMPLING:
            found[section].append(_SAMPLED)
    return {
        section: Columns(names=(*dict.fromkeys(names), _ENERGY, _COMPUTE), of=_numbers)
        for section, names in found.items()
    }


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Samples on one grid by name, see :func:`parts_of`."""

    shape: tuple[int, ...]
    arrays: Mapping[str, FloatArray]

    @classmethod
    def of(cls, columns: Columns, sampled: FloatArray) -> Parts:
        """From the arrays that ``perf.compile`` returns, the first axis being the columns."""
        return cls(sampled.shape[1:], dict(zip(columns.names, sampled, strict=True)))

    def samples(self, tuned: Tuned) -> Samples:
        """What a table holds, with corrections."""
        time_s = np.zeros(self.shape)
        for name in FACTORS:
            if f"time:{name}" in self.arrays:
                time_s += corrected_s(
                    name, self.arrays[f"time:{name}"], self.arrays[f"latency:{name}"], tuned
                )
        if _LAYERS in self.arrays:
            time_s += tuned.prompt_layer_s * self.arrays[_LAYERS]
        if _SAMPLED in self.arrays:
            time_s += tuned.sequence_s * self.arrays[_SAMPLED]
        return Samples(time_s, self.arrays[_ENERGY], self.arrays[_COMPUTE])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaneParts:
    """One number of the batch: samples at every count, and at the knots beyond."""

    feature: str
    dense: Parts
    tail: IntArray
    beyond: Parts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampled:
    """Every part of one subject, on the knots of its table.

    Attributes
    ----------
    subject : Subject
        On the machine without corrections.
    lanes : tuple of LaneParts
        Sections that depend on one number.
    seqs, contexts : IntArray
        Knots of ``decode``.
    new, past : IntArray
        Knots of ``prefill``.
    decode, prefill : Parts
        Attention.
    efficiencies : tuple of ((str, str), OpEfficiency)
        Fitted forms that were looked up.
    """

    subject: Subject
    lanes: tuple[LaneParts, ...]
    seqs: IntArray
    contexts: IntArray
    decode: Parts
    new: IntArray
    past: IntArray
    prefill: Parts
    efficiencies: tuple[tuple[tuple[str, str], OpEfficiency], ...]


class _Alike:
    """A cache key of machines that are the same in all but corrections and host time."""

    __slots__ = ("content", "machine")

    def __init__(self, machine: Machine) -> None:
        self.machine = replace(machine, tuned=Tuned(), step_overhead_s=0.0)
        self.content = pickle.dumps(self.machine)

    def __hash__(self) -> int:
        return hash(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and other.content == self.content


def sampled_parts(subject: Subject, dense_tokens: int) -> Sampled:
    """Every part of a subject, whatever the corrections of its machine.

    Parameters
    ----------
    subject : Subject
        What is compiled.
    dense_tokens : int
        Largest number of tokens of a step that is sampled count by count.
    """
    return _sampled(
        subject.model,
        subject.precision,
        subject.parallel,
        _Alike(subject.machine),
        subject.decode_tokens,
        subject.hot_factor,
        dense_tokens,
    )


@lru_cache(maxsize=4)
def _sampled(
    model: ModelSpec,
    precision: Precision,
    parallel: Parallel,
    machine: _Alike,
    decode_tokens: int,
    hot_factor: float,
    dense_tokens: int,
) -> Sampled:
    observed, rows = watched(machine.machine)
    subject = Subject(
        model=model,
        precision=precision,
        parallel=parallel,
        machine=observed,
        decode_tokens=decode_tokens,
        hot_factor=hot_factor,
    )
    columns = parts_of(subject)
    none = Columns(names=(_ENERGY, _COMPUTE), of=_numbers)
    of_decode, of_prefill = columns.get(DECODE, none), columns.get(PREFILL, none)
    seqs, contexts = compiler.seqs_knots(), compiler.context_knots(model, decode_tokens)
    new, past = compiler.new_knots(parallel.cp), compiler.past_knots(model)
    return Sampled(
        subject=subject,
        decode=Parts.of(of_decode, compiler.decode_grid(subject, of_decode, seqs, contexts)),
        prefill=Parts.of(of_prefill, compiler.prefill_grid(subject, of_prefill, new, past)),
        lanes=tuple(
            _lane(subject, columns[name], name, dense_tokens) for name in compiler.present_lanes(subject)
        ),
        seqs=seqs,
        contexts=contexts,
        new=new,
        past=past,
        efficiencies=tuple(rows.seen.items()),
    )


_SEQUENCE_LANES = ("logits", "decode_seqs")
_MOST_SEQUENCES = 2048  # no engine runs more at once on one rank; beyond, tiles are sampled


def _lane(subject: Subject, columns: Columns, name: str, dense_tokens: int) -> LaneParts:
    if name in _SEQUENCE_LANES:
        dense_tokens = min(dense_tokens, _MOST_SEQUENCES)
    tail = compiler.tail_knots(dense_tokens)
    dense, beyond = compiler.lane_arrays(subject, columns, name, dense_tokens, tail)
    return LaneParts(
        feature=name, dense=Parts.of(columns, dense), tail=tail, beyond=Parts.of(columns, beyond)
    )
