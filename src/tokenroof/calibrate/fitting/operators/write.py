"""Files of fitted forms, and everything that a directory of measured operators gives."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tokenroof.calibrate.fitting.operators.collectives import fit_collectives
from tokenroof.calibrate.fitting.operators.kernels import fit_table
from tokenroof.calibrate.operators import TABLES
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.efficiency import COLUMNS, OpEfficiency
from tokenroof.errors import InputError

COLLECTIVES = "collectives"


def write_rows(rows: Sequence[OpEfficiency], path: Path, *, error: str = ".4f") -> None:
    """One file of ``efficiency/``, as :func:`tokenroof.catalog.efficiency.read` reads it.

    Parameters
    ----------
    rows : sequence of OpEfficiency
        In the order in which they are looked up.
    path : Path
        Its directory is made when it is not there.
    error : str
        Format of errors.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((COLUMNS, *texts(rows, error=error)))


def texts(rows: Sequence[OpEfficiency], *, error: str = ".4f") -> list[tuple[str, ...]]:
    """The fields of rows as they are written."""
    out: list[tuple[str, ...]] = []
    for row in rows:
        parameters = " ".join(f"{name}={value:.4g}" for name, value in row.parameters.items())
        what = (row.op, row.chip, row.kernels, row.dtype, row.kernel, row.form, parameters)
        out.append((*what, format(row.error_fraction, error), str(row.rows), row.source, row.claim))
    return out


def measured_tables(directory: Path) -> tuple[str, ...]:
    """Tables that a directory has.

    Raises
    ------
    InputError
        It has none.
    """
    if not directory.is_dir():
        raise InputError(f"no directory {str(directory)!r} of measured operators. Check the spelling.")
    found = tuple(name for name in (*TABLES, COLLECTIVES) if (directory / f"{name}.parquet").is_file())
    if not found:
        known = ", ".join(f"{name}.parquet" for name in (*TABLES, COLLECTIVES))
        raise InputError(f"{directory}: no table of measured operators. Known: {known}.")
    return found


def fit_directory(
    directory: Path,
    catalog: Catalog,
    *,
    source: str,
    workers: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, tuple[OpEfficiency, ...]]:
    """Fitted forms of every table in a directory, by the name of their file.

    Parameters
    ----------
    directory : Path
        Tables in the format of ``calibration/measured``.
    catalog : Catalog
        Chips.
    source : str
        Row of ``sources.yaml`` that the forms are from.
    workers : int
        Processes.
    tell : callable, optional
        Told the error of every group.

    Raises
    ------
    InputError
        No table, a missing column, an unknown chip.
    """
    out: dict[str, tuple[OpEfficiency, ...]] = {}
    for name in measured_tables(directory):
        if name == COLLECTIVES:
            rows = fit_collectives(directory, catalog)
            out[name] = tuple(replace(row, source=source) for row in rows)
        else:
            out[name] = fit_table(directory, name, catalog, source=source, workers=workers, tell=tell)
    return out
