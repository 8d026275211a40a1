"""Kernels that servers run where another was measured: an engine's later default, or a published switch."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tokenroof.errors import CatalogError

_PATH = Path(__file__).parent / "data" / "kernel_choices.csv"
COLUMNS = ("op", "family", "kernels", "dtype", "over", "chip", "as_dtype", "note", "source", "claim")
Key = tuple[str, str, str, str, str]
"""Operator class, family of the chip, framework, dtype, and the measured kernel that is passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChoice:
    """Where the fitted form of the kernel that is run is found.

    Attributes
    ----------
    chip, dtype : str
        Of the row of the same operator class and framework that stands in.
    note : str
        Why.
    source, claim : str
        Row of ``sources.yaml``, and how it is known.
    """

    chip: str
    dtype: str
    note: str
    source: str
    claim: str


@functools.cache
def kernel_choices() -> Mapping[Key, KernelChoice]:
    """The shipped choices.

    Raises
    ------
    CatalogError
        The file is malformed; the message names file and line.
    """
    return MappingProxyType(read(_PATH))


def read(path: Path) -> dict[Key, KernelChoice]:
    """Choices of a file with the columns :data:`COLUMNS`.

    Raises
    ------
    CatalogError
        Its columns are others, or a choice is made twice.
    """
    found: dict[Key, KernelChoice] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        given = tuple(reader.fieldnames or ())
        if given != COLUMNS:
            raise CatalogError(f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(given)}.")
        for row in reader:
            key = (row["op"], row["family"], row["kernels"], row["dtype"], row["over"])
            if key in found:
                raise CatalogError(f"{path}, line {reader.line_num}: {' '.join(key)} is chosen twice.")
            found[key] = KernelChoice(
                chip=row["chip"],
                dtype=row["as_dtype"],
                note=row["note"],
                source=row["source"],
                claim=row["claim"],
            )
    return found
