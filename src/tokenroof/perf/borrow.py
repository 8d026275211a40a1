"""Which measured row stands for which operator when the exact one was never measured."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from tokenroof.catalog.efficiency import EfficiencySet, OpEfficiency, load
from tokenroof.catalog.kernel_choices import kernel_choices
from tokenroof.errors import CatalogError
from tokenroof.perf.collectives.rows import collective_rows

GENERIC = "generic"
SLOW_KERNEL_FRACTION = 0.3
"""Part of the memory bandwidth below which a kernel counts as slow; good ones reach 0.7 to 1."""

# Formats that stand in for one another, nearest first; every chain ends on a format with a generic row.
_GEMM_DTYPES = {
    "bf16": (),
    "fp8": ("fp8_block", "bf16"),
    "fp8_block": ("fp8", "bf16"),
    "int8": ("fp8", "bf16"),
    "nvfp4": ("fp8", "bf16"),
    "w4a8_mxfp4_mxfp8": ("fp8_block", "fp8", "bf16"),
    "int8_wo": ("bf16",),
    "int4_wo": ("bf16",),
    "w4a16_mxfp4": ("int4_wo", "bf16"),
}
_SLOW = "the slow one is "
_KV = ("bf16", "fp8")
_HEAD_DIMS = (64, 128, 256)
_RECURRENT = ("mamba2", "mamba1", "gated_delta_net", "kimi_delta", "lightning")


def _chains() -> dict[tuple[str, str], tuple[str, ...]]:
    """Every (operator class, dtype) a machine must answer, with the dtypes that may stand in."""
    chains: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, others in _GEMM_DTYPES.items():
        chains["gemm", name] = others
        chains["moe", name] = others
    for kv in _KV:
        other = "fp8" if kv == "bf16" else "bf16"
        for head_dim in _HEAD_DIMS:
            near = tuple(f"{kv}/hd{hd}" for hd in _nearest(head_dim))
            chains["attention_decode", f"{kv}/hd{head_dim}"] = (*near, f"{other}/hd{head_dim}", "bf16/hd128")
            for q in _KV:
                near = tuple(f"{q}/{kv}/hd{hd}" for hd in _nearest(head_dim))
                chains["attention_prefill", f"{q}/{kv}/hd{head_dim}"] = (
                    *near, f"{q}/{q}/hd{head_dim}", f"{q}/{q}/hd128", f"bf16/{kv}/hd128", "bf16/bf16/hd128",
                )  # fmt: skip
        chains["mla_decode", kv] = (other,)
        chains["mla_prefill", kv] = (other,)
    for kind in _RECURRENT:
        others = tuple(name for name in _RECURRENT if name != kind)
        chains["recurrent_decode", kind] = others
        chains["recurrent_prefill", kind] = others
    chains["elementwise", "bf16"] = ()
    chains["index_score", "fp8"] = ()
    return chains


def _nearest(head_dim: int) -> tuple[int, ...]:
    others = [other for other in _HEAD_DIMS if other != head_dim]
    return tuple(sorted(others, key=lambda other: max(other / head_dim, head_dim / other)))


_CHAINS = _chains()
_Index = dict[tuple[str, str], list[OpEfficiency]]


@functools.cache
def shipped_rows(chip: str, relative: str, family: str, kernels: str, topology: str) -> EfficiencySet:
    """:func:`choose_rows` from the shipped fits, remembered."""
    return choose_rows(chip, relative, family, kernels, topology, load())


def choose_rows(
    chip: str, relative: str, family: str, kernels: str, topology: str, rows: Sequence[OpEfficiency]
) -> EfficiencySet:
    """For every operator class and dtype the nearest measured row.

    Nearness: this chip with these kernels; this chip with another framework's; the chip named as
    its relative; its family; the same for a neighbouring dtype; the generic median. A slow kernel gives way
    to another one of the same framework, if a relative has one; one that servers do not run to the one
    they do (``catalog/kernel_choices.py``).

    Parameters
    ----------
    chip, relative, family : str
        Whose measurements to look for, in this order; empty names match nothing.
    kernels : str
        Framework of the engine.
    topology : str
        Of the scale-up fabric, "" when there is none; collectives are borrowed along it.
    rows : sequence of OpEfficiency
        In order of precedence.

    Returns
    -------
    EfficiencySet
        With one plain sentence per borrowed row.

    Raises
    ------
    CatalogError
        Not even a generic row exists for some operator.
    """
    index: _Index = {}
    for row in rows:
        index.setdefault((row.op, row.dtype), []).append(row)
    places = ((chip, ""), (relative, "its nearest relative"), (family, "its family"))
    chosen: dict[tuple[str, str], OpEfficiency] = {}
    borrowed: list[str] = []
    for (op, dtype), others in _CHAINS.items():
        row, why = _choose(op, (dtype, *others), places, kernels, index)
        served = _as_served(row, family, index)
        chosen[op, dtype] = served or row
        if served:
            choice = kernel_choices()[_key(row, family)]
            borrowed.append(
                f"{op} {dtype} on {chip} as served: "
                f"taken from {served.chip}, {served.kernels}, {served.dtype} ({choice.note})."
            )
        elif why or row.dtype != dtype:
            taken = ", ".join(part for part in (row.chip, row.kernels, row.dtype) if part != GENERIC)
            reason = f" ({why})" if why else ""
            said = "was measured with a slow kernel" if why.startswith(_SLOW) else "was not measured"
            borrowed.append(f"{op} {dtype} {said} on {chip}; taken from {taken}{reason}.")
    collectives, notes = collective_rows(chip, relative, kernels, topology, rows)
    return EfficiencySet(rows=chosen | collectives, borrowed=(*borrowed, *notes))


def _choose(
    op: str, dtypes: Sequence[str], places: Sequence[tuple[str, str]], kernels: str, index: _Index
) -> tuple[OpEfficiency, str]:
    """The nearest row and what makes it a stand-in ("" when nothing does)."""
    for dtype in dtypes:
        found = list(_related(places, kernels, index.get((op, dtype), [])))
        if found:
            return _better_kernel(found)
    for dtype in dtypes:
        for row in index.get((op, dtype), []):
            if row.chip == GENERIC:
                return row, "the median of all measured chips"
    raise CatalogError(f"no efficiency row for {op!r} of dtype {dtypes[0]!r}, not even a generic one.")


def _key(row: OpEfficiency, family: str) -> tuple[str, str, str, str, str]:
    return row.op, family, row.kernels, row.dtype, row.kernel


def _as_served(row: OpEfficiency, family: str, index: _Index) -> OpEfficiency | None:
    """The row of the kernel that servers run where this one was measured; None where they run this one."""
    choice = kernel_choices().get(_key(row, family))
    if choice is None:
        return None
    for other in index.get((row.op, choice.dtype), []):
        if other.chip == choice.chip and other.kernels == row.kernels:
            return other
    raise CatalogError(
        f"kernel_choices.csv: no {row.kernels} row for {row.op} {choice.dtype} on {choice.chip}, "
        f"which {row.kernel} gives way to."
    )


def _better_kernel(found: Sequence[tuple[OpEfficiency, str]]) -> tuple[OpEfficiency, str]:
    """The nearest row, or the same framework's other kernel on a relative where the nearest one is slow.

    Frameworks choose among several kernels; where the one measured on this chip stays far below the
    bandwidth and another one of theirs does not, that is the one they run.
    """
    nearest, why = found[0]
    if not is_slow(nearest):
        return nearest, why
    for row, _ in found:
        if row.kernels == nearest.kernels and row.kernel != nearest.kernel and not is_slow(row):
            return row, f"{_SLOW}{nearest.kernel}; this one is {row.kernel}"
    return nearest, why


def is_slow(row: OpEfficiency) -> bool:
    """Whether a kernel of matrix products was measured far below the memory bandwidth."""
    return row.op in ("gemm", "moe") and row.parameters["memory_fraction"] < SLOW_KERNEL_FRACTION


def _related(
    places: Sequence[tuple[str, str]], kernels: str, rows: Sequence[OpEfficiency]
) -> Iterator[tuple[OpEfficiency, str]]:
    """Rows of this chip, its relative and its family, nearest first."""
    for name, why in places:
        same_chip = [row for row in rows if name and row.chip == name]
        yield from ((row, why) for row in same_chip if row.kernels == kernels)
        other = why or f"no {kernels} measurement"
        yield from ((row, other) for row in same_chip if row.kernels != kernels)
