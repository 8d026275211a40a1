"""Which measured collectives stand for a chip's: whole series, never sizes from different places."""

from __future__ import annotations

from collections.abc import Sequence

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.perf.collectives.core import KINDS

LIBRARIES = ("nccl", "oneccl")
"""Communication libraries: what engines call when they bring no implementation of their own."""

_Key = tuple[str, str]


def form_name(topology: str) -> str:
    """Form of the rows measured on a topology.

    >>> form_name("nvswitch")
    'algorithms@nvswitch'
    """
    return f"algorithms@{topology}"


def collective_rows(
    chip: str, relative: str, kernels: str, topology: str, rows: Sequence[OpEfficiency]
) -> tuple[dict[_Key, OpEfficiency], tuple[str, ...]]:
    """For every collective the series of the nearest chip and implementation.

    Nearness: this chip with these kernels, with a communication library, with another framework's;
    then the same of its relative. A collective without any series is left out: it then costs the
    fabric's stated software overhead and an assumed fraction of its links.

    Parameters
    ----------
    chip, relative : str
        Whose measurements to look for; an empty name matches nothing.
    kernels : str
        Framework of the engine.
    topology : str
        Of the chip's scale-up fabric: only series measured on the same one are taken.
    rows : sequence of OpEfficiency
        In order of precedence.

    Returns
    -------
    tuple
        Rows by (collective, group size "n8"), and one sentence per borrowed or missing collective.
    """
    index: dict[tuple[str, str, str], dict[str, OpEfficiency]] = {}
    for row in rows:
        if row.op in KINDS and row.form == form_name(topology):
            index.setdefault((row.op, row.chip, row.kernels), {}).setdefault(row.dtype, row)
    chosen: dict[_Key, OpEfficiency] = {}
    notes: list[str] = []
    for kind in KINDS:
        series, why = _nearest(kind, chip, relative, kernels, index)
        chosen |= {(kind, size): row for size, row in series.items()}
        if why:
            notes.append(f"{kind} was not measured on {chip}; {why}.")
    return chosen, tuple(notes)


def _nearest(
    kind: str,
    chip: str,
    relative: str,
    kernels: str,
    index: dict[tuple[str, str, str], dict[str, OpEfficiency]],
) -> tuple[dict[str, OpEfficiency], str]:
    for place in (chip, relative):
        of_place = [key for key in index if place and key[:2] == (kind, place)]
        ranked = sorted(of_place, key=lambda key: _rank(key[2], kernels))
        if ranked:
            source = f"taken from {place}, {ranked[0][2]}, scaled to its links"
            return index[ranked[0]], "" if place == chip else source
    return {}, "it costs its fabric's stated overhead and an assumed 80 % of its links"


def _rank(found: str, kernels: str) -> tuple[int, str]:
    if found == kernels:
        return (0, found)
    return (1 if found in LIBRARIES else 2, found)
