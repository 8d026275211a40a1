"""What a benchmark is to the formulas: a chip's numbers, columns of a table, re-read bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.catalog.core import Chip, OperandKind
from tokenroof.catalog.dtypes import dtype
from tokenroof.graph.core import Num
from tokenroof.perf.roofline import cached_stream_s

Array = npt.NDArray[np.float64]
Parameters = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the formulas need to know of a chip: peaks [flop/s], bandwidth [bytes/s], units, cache [bytes]."""

    peak_flop_per_s: Mapping[str, float]
    bandwidth_bytes_per_s: float
    compute_units: float
    cache_bytes: float


def hardware_of(chip: Chip) -> Hardware:
    """The chip's peaks and the bandwidth of the tier that weights live in."""
    home = next(tier for tier in chip.memory if OperandKind.WEIGHTS in tier.holds)
    return Hardware(
        peak_flop_per_s={name: peak.value for name, peak in chip.peak_flop_per_s.items()},
        bandwidth_bytes_per_s=home.bandwidth_bytes_per_s.value,
        compute_units=float(chip.compute_units),
        cache_bytes=chip.cache_bytes,
    )


def columns(table: pl.DataFrame) -> dict[str, Array]:
    """Numeric columns as float arrays."""
    numeric = [name for name, kind in table.schema.items() if kind.is_numeric()]
    return {name: table[name].to_numpy().astype(np.float64) for name in numeric}


def width_bytes(name: str) -> float:
    """Bytes of one element. [bytes]"""
    return float(dtype(name).bits) / 8.0


def benchmark_stream_s(moved_bytes: Array, hardware: Hardware, parameters: Parameters) -> Num:
    """Streaming time of a benchmark that re-reads the same bytes."""
    stream_s = moved_bytes / hardware.bandwidth_bytes_per_s
    cached = {name: value for name, value in parameters.items() if name.startswith("cached_")}
    if not cached:
        return stream_s
    return cached_stream_s(stream_s, footprint_bytes=moved_bytes, cache_bytes=hardware.cache_bytes, **cached)
