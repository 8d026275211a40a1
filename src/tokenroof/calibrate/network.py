"""Fits of measured collectives: few affine pieces, each an algorithm or protocol of the implementation.

An implementation switches from a low-latency path to a high-bandwidth one as messages grow, so its
time is close to the least of a few lines ``a + b S``. The lines are found by trying every way to
cut the measured sizes into runs, fitting each run by least absolute relative error, and keeping
the cut whose *minimum of lines* explains all sizes best: no starting point, the same answer always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.errors import InputError
from tokenroof.perf.collectives import collective_s
from tokenroof.perf.collectives.algorithms import ALGORITHMS
from tokenroof.perf.collectives.candidates import REFERENCE, SHARPNESS
from tokenroof.perf.collectives.core import ALL_REDUCE, ALL_TO_ALL, SEND_RECV
from tokenroof.perf.collectives.rows import LIBRARIES, form_name
from tokenroof.perf.collectives.topology import reach
from tokenroof.perf.core import Machine, Net

PIECES = 3
SHARPNESSES = (1.0, 1.5, 3.0)
"""Overlaps of overhead and bytes that are tried; held-out error chooses."""
BOARD_CHIPS = 8
"""Chips of a board: where libraries begin to add in the switches."""
MIN_POINTS = 2
MAX_POINTS = 40
"""Points that the search over cuts sees; more are replaced by medians of neighbours."""
LOSS_SCALE = 0.1
"""Relative error above which the loss grows linearly instead of quadratically."""

Floats = npt.NDArray[np.float64]
Line = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One collective of one implementation on one chip and group size.

    Attributes
    ----------
    kind, chip, kernels : str
        Collective, chip, framework or library.
    version : str
        Of the framework or library.
    group : int
        Chips.
    message_bytes, seconds : Floats
        Sorted sizes (nccl-tests convention) and what they took. [bytes], [s]
    """

    kind: str
    chip: str
    kernels: str
    version: str
    group: int
    message_bytes: Floats
    seconds: Floats


def read_series(path: Path) -> tuple[Series, ...]:
    """Series of a compact table: chip, kernels, version, kind, group, message_bytes, latency_us.

    Raises
    ------
    InputError
        The file is not there.
    """
    if not path.is_file():
        raise InputError(
            f"no measured collectives at {path}. They live in calibration/measured of the repository."
        )
    keys = ["kind", "chip", "kernels", "version", "group"]
    out = []
    for part in pl.read_parquet(path).sort([*keys, "message_bytes"]).partition_by(keys, maintain_order=True):
        first = part.row(0, named=True)
        out.append(
            Series(
                **{key: first[key] for key in keys},
                message_bytes=part["message_bytes"].to_numpy().astype(np.float64),
                seconds=part["latency_us"].to_numpy().astype(np.float64) * 1e-6,
            )
        )
    return tuple(out)


def read_exchanges(path: Path) -> tuple[Series, ...]:
    """Dispatch and combine of mixtures of experts, as all-to-all series of many shapes.

    ``message_bytes`` is what a rank sends when every token goes once to each rank that owns one of
    its experts, as :mod:`tokenroof.graph` counts it.

    Raises
    ------
    InputError
        The file is not there.
    """
    if not path.is_file():
        raise InputError(
            f"no measured exchanges at {path}. They live in calibration/measured of the repository."
        )
    keys = ["chip", "kernels", "version", "group"]
    out = []
    for part in (
        pl.read_parquet(path)
        .sort([*keys, "message_bytes", "latency_us"])
        .partition_by(keys, maintain_order=True)
    ):
        first = part.row(0, named=True)
        out.append(
            Series(
                kind=ALL_TO_ALL,
                **{key: first[key] for key in keys},
                message_bytes=part["message_bytes"].to_numpy().astype(np.float64),
                seconds=part["latency_us"].to_numpy().astype(np.float64) * 1e-6,
            )
        )
    return tuple(out)


def thinned(sizes: Floats, seconds: Floats, limit: int = MAX_POINTS) -> tuple[Floats, Floats]:
    """Medians of equally many neighbouring points, when there are more than ``limit``."""
    if len(sizes) <= limit:
        return sizes, seconds
    parts = [part for part in np.array_split(np.arange(len(sizes)), limit) if len(part)]
    return (
        np.array([np.median(sizes[part]) for part in parts]),
        np.array([np.median(seconds[part]) for part in parts]),
    )


def loss(predicted: Floats, seconds: Floats) -> float:
    """Soft absolute error of the logarithm, summed."""
    error = np.log(predicted / seconds) / LOSS_SCALE
    return float(np.sum(2.0 * (np.sqrt(1.0 + error * error) - 1.0)))


def least(lines: Sequence[Line], sizes: Floats, sharpness: float = 1.0) -> Floats:
    """The least of the lines at each size, overhead and bytes joined by a p-norm. [s]"""
    values: Floats = np.min(
        [(a**sharpness + (b * sizes) ** sharpness) ** (1.0 / sharpness) for a, b in lines], axis=0
    )
    return values


def fit_lines(
    sizes: Floats, seconds: Floats, pieces: int = PIECES, sharpness: float = 1.0
) -> tuple[Line, ...]:
    """Lines (overhead [s], seconds per byte) whose minimum explains a series, by rising overhead.

    Parameters
    ----------
    sizes, seconds : Floats
        Sorted sizes [bytes] and times [s].
    pieces : int
        Lines; fewer when there are too few points.
    sharpness : float
        p of the p-norm that joins overhead and bytes; the search over cuts is done at 1.

    Raises
    ------
    InputError
        Fewer than two points.
    """
    sizes, seconds = thinned(sizes, seconds)
    count = len(sizes)
    if count < MIN_POINTS:
        raise InputError(f"a fit needs {MIN_POINTS} sizes or more, got {count}.")
    pieces = min(pieces, count // MIN_POINTS)
    lines: dict[tuple[int, int], Line] = {}
    best: tuple[float, tuple[Line, ...]] | None = None
    for cuts in combinations(range(MIN_POINTS, count - MIN_POINTS + 1), pieces - 1):
        runs = tuple(pairwise((0, *cuts, count)))
        if any(stop - start < MIN_POINTS for start, stop in runs):
            continue
        for start, stop in runs:
            if (start, stop) not in lines:
                lines[start, stop] = _line(sizes[start:stop], seconds[start:stop])
        found = tuple(lines[run] for run in runs)
        error = loss(least(found, sizes), seconds)
        if best is None or error < best[0]:
            best = (error, found)
    assert best is not None
    return tuple(sorted(_polish(best[1], sizes, seconds, sharpness)))


def _line(sizes: Floats, seconds: Floats) -> Line:
    """Least absolute relative error by reweighting; both numbers positive."""
    weight = 1.0 / seconds
    a, b = float(seconds.min()), 1e-18
    for _ in range(8):
        design = np.stack([weight, weight * sizes], axis=1)
        (a, b), *_ = np.linalg.lstsq(design, weight * seconds, rcond=None)
        if a <= 0.0:
            a, b = 1e-12, float(np.median(seconds / sizes))
        if b <= 0.0:
            a, b = float(np.median(seconds)), 1e-18
        error = np.abs((a + b * sizes) / seconds - 1.0)
        weight = 1.0 / seconds / np.sqrt(np.maximum(error, 0.01))
    return float(a), float(b)


def _polish(lines: Sequence[Line], sizes: Floats, seconds: Floats, sharpness: float) -> list[Line]:
    """Coordinate descent on the logarithms of all numbers together."""
    logs = np.log(np.array(lines))
    best, step = loss(least(lines, sizes, sharpness), seconds), 0.2
    while step > 0.002:
        improved = False
        for index in np.ndindex(*logs.shape):
            for sign in (1.0, -1.0):
                trial = logs.copy()
                trial[index] += sign * step
                error = loss(least(_lines(trial), sizes, sharpness), seconds)
                if error < best - 1e-9:
                    best, logs, improved = error, trial, True
        if not improved:
            step /= 2.0
    return _lines(logs)


def _lines(logs: Floats) -> list[Line]:
    return [(float(a), float(b)) for a, b in np.exp(logs)]


def names(series: Series, net: Net) -> tuple[str, ...]:
    """What the three lines are called, from the fewest bytes per second to the most.

    Notes
    -----
    Libraries run one algorithm over their LL, LL128 and Simple protocols and, in groups that span a
    board with adding switches, reduce large messages there. Frameworks bring one-shot and two-shot
    kernels and hand large messages to the library; TensorRT-LLM multicasts in the switches of a
    rack. Which line is which is our reading: only their
    overheads and rates are measured.
    """
    if series.kind == SEND_RECV:
        return ("send_recv.low_latency", "send_recv.mid", "send_recv.bulk")
    if series.kind == ALL_TO_ALL:
        return ("direct.low_latency", "direct.mid", "direct.bulk")
    bulk = "in_network" if net.in_network_reduction and series.group >= BOARD_CHIPS else "ring"
    if series.kind != ALL_REDUCE:
        return ("ring.ll", "ring.ll128", "ring.simple")
    if series.kernels in LIBRARIES:
        return ("ring.ll", "ring.ll128", f"{bulk}.simple")
    if series.kernels == "trtllm" and series.group > BOARD_CHIPS // 2 and net.domain_size > BOARD_CHIPS:
        return ("in_network.multicast", "two_shot", "in_network.library")
    return ("one_shot", "two_shot", f"{bulk}.library")


def fit(series: Series, net: Net, *, source: str, claim: str = "measured") -> OpEfficiency:
    """An efficiency row of a series, on the fabric that it was measured on.

    Overheads have the hops taken out and fractions are of the fabric's datasheet bandwidth, so the
    row can be used on another fabric. ``error_fraction`` is held out: each half of the sizes
    predicted from the other half.
    """
    errors = {sharpness: sum(held_out_errors(series, sharpness)) / 2 for sharpness in SHARPNESSES}
    sharpness = min(errors, key=lambda value: (errors[value], value))
    lines = fit_lines(series.message_bytes, series.seconds, sharpness=sharpness)
    seen = reach(net, series.group)
    parameters: dict[str, float] = {REFERENCE: float(net.software_latency_s)}
    if sharpness != 1.0:
        parameters[SHARPNESS] = sharpness
    for name, (overhead_s, s_per_byte) in zip(names(series, net), lines, strict=False):
        plan = ALGORITHMS[name.partition(".")[0]](series.kind, 1.0, seen)
        assert plan is not None
        hops_s = plan.hops * net.hop_latency_s
        parameters[f"{name}.alpha_s"] = max(0.0, overhead_s - float(hops_s))
        parameters[f"{name}.fraction"] = float(plan.sent_bytes / plan.bandwidth_bytes_per_s) / s_per_byte
    return OpEfficiency(
        op=series.kind,
        chip=series.chip,
        kernels=series.kernels,
        dtype=f"n{series.group}",
        form=form_name(net.topology),
        parameters={key: float(f"{value:.4g}") for key, value in parameters.items()},
        error_fraction=float(f"{errors[sharpness]:.4g}"),
        rows=len(series.seconds),
        source=source,
        claim=claim,
        kernel=series.version,
    )


def held_out_errors(series: Series, sharpness: float = 1.0) -> tuple[float, float]:
    """Mean absolute relative error of each half of the sizes, predicted from the other half.

    First the odd positions predicted from the even ones (the half that the compared forms were tested
    on), then back.
    """
    errors = []
    for train in (0, 1):
        sizes, seconds = series.message_bytes[train::2], series.seconds[train::2]
        lines = fit_lines(sizes, seconds, sharpness=sharpness)
        test = slice(1 - train, None, 2)
        predicted = least(lines, series.message_bytes[test], sharpness)
        errors.append(float(np.mean(np.abs(predicted / series.seconds[test] - 1.0))))
    return errors[0], errors[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """How far the shipped rows are from one measured series.

    Attributes
    ----------
    series : Series
        What was measured.
    held_out_fraction : float
        Mean absolute relative error, each half of the sizes predicted from the other.
    machine_fraction, worst_fraction : float
        Mean and largest absolute relative error of :func:`~tokenroof.perf.collectives.collective_s`
        with the shipped row, all sizes.
    """

    series: Series
    held_out_fraction: float
    machine_fraction: float
    worst_fraction: float


def residual(series: Series, row: OpEfficiency, machine: Machine) -> Residual:
    """Residuals of a shipped row through the whole path: topology, algorithms, hops, overheads.

    Parameters
    ----------
    series : Series
        What was measured.
    row : OpEfficiency
        The shipped fit of it.
    machine : Machine
        The chip, with ``row`` among its efficiencies.
    """
    predicted = collective_s(series.kind, series.message_bytes.astype(np.int64), series.group, 1, machine)
    error = np.abs(np.asarray(predicted) / series.seconds - 1.0)
    return Residual(
        series=series,
        held_out_fraction=row.error_fraction,
        machine_fraction=float(error.mean()),
        worst_fraction=float(error.max()),
    )
