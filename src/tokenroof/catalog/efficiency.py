"""Achieved fractions of the peaks: measured, fitted, and kept apart from the datasheet.

One :class:`OpEfficiency` row is one fitted form for one operator class on one chip with one
framework and dtype. :class:`EfficiencySet` is what a machine uses: for every operator class and
dtype a row, and a note when the row is borrowed from a relative.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenroof.errors import CatalogError


@dataclass(frozen=True, slots=True, kw_only=True)
class OpEfficiency:
    """One fitted form.

    Attributes
    ----------
    op : str
        "gemm", "attention_decode", "attention_prefill", "mla_decode", "mla_prefill", "moe",
        "elementwise", "recurrent", "all_reduce", ...
    chip, kernels, dtype : str
        What was measured: chip name, framework, dtype (for attention: "q/kv" formats, plus head dim).
    form : str
        Functional form; a name of ``perf``'s formulas.
    parameters : mapping of str to float
        By parameter name; fractions are dimensionless, times are in seconds.
    error_fraction : float
        Mean absolute relative error on held-out rows (nan when unknown).
    rows : int
        Measured rows behind it (0 = assumption).
    source, claim : str
        Row of ``sources.yaml``, and how it is known.
    kernel : str
        Which kernel of the framework, when it has several for one dtype; the first row of a file wins.
    """

    op: str
    chip: str
    kernels: str
    dtype: str
    form: str
    parameters: Mapping[str, float]
    error_fraction: float
    rows: int
    source: str
    claim: str
    kernel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficiencySet:
    """What one machine achieves.

    Attributes
    ----------
    rows : mapping of (op, dtype) to OpEfficiency
        Chosen rows.
    borrowed : tuple of str
        One sentence per row that stands in for a missing measurement.
    """

    rows: Mapping[tuple[str, str], OpEfficiency]
    borrowed: tuple[str, ...]

    def row(self, op: str, dtype: str) -> OpEfficiency:
        """The form to use for an operator class and dtype.

        Raises
        ------
        KeyError
            The set was built without this operator class: a bug of ours.
        """
        return self.rows[(op, dtype)]


_DATA = Path(__file__).parent / "data" / "efficiency"
COLUMNS = (
    "op", "chip", "kernels", "dtype", "kernel", "form", "parameters",
    "error_fraction", "rows", "source", "claim",
)  # fmt: skip


def load(directories: Sequence[Path] = ()) -> tuple[OpEfficiency, ...]:
    """Every fitted form: the user's first, then ours.

    Parameters
    ----------
    directories : sequence of Path
        Catalog directories whose ``efficiency/*.csv`` are read before the shipped ones, the first one
        first.

    Returns
    -------
    tuple of OpEfficiency
        In order of precedence.

    Raises
    ------
    CatalogError
        A file is malformed; the message names file, line and field.
    """
    return (*(row for directory in directories for row in read(directory)), *_shipped())


def read(directory: Path) -> tuple[OpEfficiency, ...]:
    """The fitted forms of one catalog directory: those of its ``efficiency/*.csv``."""
    return tuple(_read_directory(directory / "efficiency"))


@functools.cache
def _shipped() -> tuple[OpEfficiency, ...]:
    return tuple(_read_directory(_DATA))


def _read_directory(directory: Path) -> list[OpEfficiency]:
    rows: list[OpEfficiency] = []
    for path in sorted(directory.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header != COLUMNS:
                raise CatalogError(
                    f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(header)}."
                )
            rows += [_parse(path, reader.line_num, fields) for fields in reader if fields]
    return rows


def _parse(path: Path, line: int, fields: Sequence[str]) -> OpEfficiency:
    if len(fields) != len(COLUMNS):
        raise CatalogError(f"{path}, line {line}: expected {len(COLUMNS)} fields, got {len(fields)}.")
    text = dict(zip(COLUMNS, fields, strict=True))
    try:
        pairs = [pair.partition("=") for pair in text["parameters"].split()]
        parameters = {name: float(value) for name, _, value in pairs}
        error_fraction, rows = float(text["error_fraction"]), int(text["rows"])
    except ValueError as error:
        raise CatalogError(
            f"{path}, line {line}: {error}. Write parameters as 'name=number name=number'."
        ) from None
    return OpEfficiency(
        op=text["op"],
        chip=text["chip"],
        kernels=text["kernels"],
        dtype=text["dtype"],
        form=text["form"],
        parameters=parameters,
        error_fraction=error_fraction,
        rows=rows,
        source=text["source"],
        claim=text["claim"],
        kernel=text["kernel"],
    )
