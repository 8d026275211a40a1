"""Write docs/network-accuracy.md: how close the shipped collectives are to what was measured.

Run as ``python scripts/network_accuracy.py``; reads calibration/measured, the catalog and the
shipped efficiency rows, fits nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import mean

import polars as pl

from tokenroof.calibrate.network import (
    SHARPNESSES,
    Residual,
    Series,
    held_out_errors,
    read_exchanges,
    read_series,
    residual,
)
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import load as load_rows
from tokenroof.perf.machine import build_machine

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "calibration" / "measured"
TARGET = ROOT / "docs" / "network-accuracy.md"
Key = tuple[str, str, str, int]
INTRODUCTION = """# How accurate are collectives?

This page is written by `scripts/network_accuracy.py` from the tables in `calibration/measured` and the
rows in `catalog/data/efficiency/collectives.csv` (written by `make calibration`).

- **held out**: every size predicted from the half of the sizes without it, mean absolute relative
  error, both halves; **same half** is the half that the earlier study tested on;
- **best form**: error of the best of three forms fitted to the same series in that study (overhead plus
  bytes; a p-norm of the two; overhead, bytes and a capped term), **bold** where it beats our same half;
- **all sizes**: the shipped row through the whole model (topology, algorithm, hops, overhead), mean and
  worst.

Both choose their form by a held-out error, so both are a little flattered. Measured by NVIDIA
AIConfigurator (Apache-2.0) with nccl-tests or under CUDA graphs, and by Vidur (MIT; sends). The newest
version of each implementation is kept.

Limits. One board or one rack tray only: nothing here measures networks between servers; their
overhead (20 us) and achieved fraction (80 %) are assumptions, and so is every fabric that is not named
below (MI300X, TPU, Gaudi, Trainium, dragonfly). Groups beyond the largest measured one grow with log2 of
their size. GB200 groups of 8 and 16 are those of GB300. All-reduces of vLLM and SGLang over more than
one tray of an NVL72 are what those versions did (a library, 14 to 50 us), not what the rack can do.
Eight L40S over PCIe scatter by tens of percent below 256 KiB.
"""
EXCHANGES = """
## Dispatch and combine of mixtures of experts

One row serves both directions and all shapes of a chip and group size; bytes are counted once per rank
that owns one of a token's experts, which explains the measurements far better than once per expert. What
is left is the scatter over hidden sizes, numbers of experts and directions (dispatch waits
for its routing exchange), not noise of the clock. Coarse mixtures (fewer than 64 experts, top-k below 4)
are left out. vLLM runs the same DeepEP kernels and takes SGLang's rows; its own eager timings include
host time and are not used.

| chip | kernels | chips | shapes | held out | all shapes | worst |
|---|---|---|---|---|---|---|
"""


def percent(fraction: float) -> str:
    """A fraction as people read it."""
    return f"{100 * fraction:.1f} %"


def residuals(series: Iterable[Series]) -> list[Residual]:
    """Of every series, on its own chip with its own implementation."""
    catalog = load()
    rows = load_rows()
    generic = catalog.engine("generic")
    out = []
    for one in series:
        kernels = "sglang" if one.kernels == "deepep" else one.kernels
        row = next(
            row
            for row in rows
            if (row.op, row.chip, row.kernels, row.dtype) == (one.kind, one.chip, kernels, f"n{one.group}")
        )
        machine = build_machine(catalog.chip(one.chip), replace(generic, kernels=kernels))
        out.append(residual(one, row, machine))
    return out


def page() -> str:
    """The whole page."""
    best: dict[Key, float] = {
        (row["chip"], row["kernels"], row["kind"], row["group"]): row["best_form_error_fraction"]
        for row in pl.read_csv(MEASURED / "collectives_best_form.csv").iter_rows(named=True)
    }
    found = residuals(read_series(MEASURED / "collectives.parquet"))
    same = {key(one): same_half(one) for one in found}
    head = [
        "kernels",
        "collective",
        "series",
        "held out",
        "same half",
        "best form",
        "all sizes",
        "not worse in",
    ]
    lines = [INTRODUCTION, "## By implementation", "", *table(head)]
    groups: dict[tuple[str, str], list[Residual]] = defaultdict(list)
    for one in found:
        groups[one.series.kernels, one.series.kind].append(one)
    for (kernels, kind), members in [*sorted(groups.items()), (("all", "all"), found)]:
        won = sum(same[key(one)] <= best[key(one)] for one in members)
        means = [
            mean(ours(one) for one in members),
            mean(same[key(one)] for one in members),
            mean(best[key(one)] for one in members),
            mean(one.machine_fraction for one in members),
        ]
        cells = [kernels, kind, str(len(members)), *map(percent, means), f"{won} of {len(members)}"]
        lines.append(f"| {' | '.join(cells)} |")
    head = [
        "chip",
        "kernels",
        "collective",
        "chips",
        "held out",
        "same half",
        "best form",
        "all sizes",
        "worst",
    ]
    lines += ["", "## Every series", "", *table(head)]
    for one in found:
        other = percent(best[key(one)])
        cells = [
            *map(str, key(one)),
            percent(ours(one)),
            percent(same[key(one)]),
            other if same[key(one)] <= best[key(one)] else f"**{other}**",
            percent(one.machine_fraction),
            percent(one.worst_fraction),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n" + EXCHANGES
    for one in residuals(read_exchanges(MEASURED / "moe_alltoall.parquet")):
        chip, kernels, _, group = key(one)
        text += (
            f"| {chip} | {kernels} | {group} | {len(one.series.seconds)} | {percent(ours(one))} "
            f"| {percent(one.machine_fraction)} | {percent(one.worst_fraction)} |\n"
        )
    return text


def table(head: list[str]) -> list[str]:
    """First two lines of a table."""
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]


def same_half(one: Residual) -> float:
    """Error on the half that the earlier study tested on, with the overlap that was chosen."""
    errors = {value: held_out_errors(one.series, value) for value in SHARPNESSES}
    return min(errors.values(), key=sum)[0]


def key(one: Residual) -> Key:
    """What names a series."""
    return (one.series.chip, one.series.kernels, one.series.kind, one.series.group)


def ours(one: Residual) -> float:
    """Held-out error of the shipped form."""
    return one.held_out_fraction


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
