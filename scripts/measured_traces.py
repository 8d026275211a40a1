"""Write docs/measured-traces.md: simulated runs against what real servers did with the same requests.

Run as ``python scripts/measured_traces.py``; reads calibration/measured_serving and the shipped numbers,
fits nothing. The words of the page are in ``measured_traces_text.py``, the numbers in them come from
``measured_traces_numbers.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import measured_traces_text as text  # noqa: E402 - they lie beside this file
from measured_traces_numbers import (  # noqa: E402
    Compared,
    compare,
    engine_clock_gap,
    in_system,
    mean_in_system,
    overload,
    prefill_fractions,
    settled,
    tpot_groups,
    tpot_ratios,
)

from tokenroof.calibrate.serving import METRICS, MeasuredRun, read_runs  # noqa: E402

MEASURED = ROOT / "calibration" / "measured_serving"
TARGET = ROOT / "docs" / "measured-traces.md"
GROSS = 2.0
"""A prediction that is off by more than this factor is bold, and has a footnote."""
STATISTICS = ("mean", "p50", "p99")

FloatArray = npt.NDArray[np.float64]


def statistic(name: str, values: FloatArray) -> float:
    """Mean or a percentile (linear between neighbours)."""
    return float(values.mean() if name == "mean" else np.percentile(values, float(name[1:])))


def gross(ratio: float) -> bool:
    """Whether a prediction is off by more than the factor, as the page shows it."""
    return not 1.0 / GROSS <= round(ratio, 2) <= GROSS


def shown(value: float) -> str:
    """Three digits, never an exponent."""
    digits = max(0, 2 - int(np.floor(np.log10(value))))
    return f"{value:.{digits}f}"


def ratio_cell(run: MeasuredRun, metric: str, name: str, ratio: float, *, place: str = "whole") -> str:
    """Predicted over measured, bold with its footnote where it is gross."""
    if not gross(ratio):
        return f"{ratio:.2f}"
    letter = text.footnote(run.name, metric, name, place=place)
    return f"**{ratio:.{0 if ratio >= 100 else 2}f}** [{letter}](#{letter})"


def table(header: Iterable[str], rows: Iterable[Iterable[str]], *, left: int = 1) -> list[str]:
    """A table in Markdown, the first columns to the left and the others to the right."""
    header = list(header)
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def conditions(found: Iterable[Compared]) -> list[str]:
    """What was run on what."""
    return table(
        ("run", "chips", "version", "KV blocks", "requests", "rate", "prompt", "answer", "clock", "quality"),
        (
            (
                run.name,
                f"{run.tp} x {run.chip}",
                f"{run.engine} {run.version.lstrip('v')}",
                str(run.kv_blocks) if run.kv_blocks else "not recorded",
                str(run.arrival_s.size),
                " then ".join(f"{rate:g}" for rate in run.rates_per_s) + "/s",
                f"{run.isl_tokens.mean():.0f}",
                f"{run.osl_tokens.mean():.0f}",
                run.clock,
                run.quality,
            )
            for run in (each.run for each in found)
        ),
        left=3,
    )


def latency_table(found: Iterable[Compared], metric: str) -> list[str]:
    """Predicted, measured and their ratio, by run and statistic."""
    scale = 1e3 if metric == "tpot_s" else 1.0
    rows = []
    for each in found:
        cells = [each.run.name]
        for name in STATISTICS:
            ours = statistic(name, each.best.of(metric))
            theirs = statistic(name, each.run.measured.of(metric))
            cells += [
                shown(scale * ours),
                shown(scale * theirs),
                ratio_cell(each.run, metric, name, ours / theirs),
            ]
        rows.append(cells)
    header = [
        "run",
        *(f"{name} {what}" for name in STATISTICS for what in ("predicted", "measured", "ratio")),
    ]
    return table(header, rows)


def stage_table(found: Iterable[Compared]) -> list[str]:
    """Ratios by stage of the load."""
    rows = []
    for each in found:
        run = each.run
        if len(run.rates_per_s) < 2:
            continue
        for stage, rate in enumerate(run.rates_per_s):
            chosen = run.stage == stage
            cells = [f"{run.name}, {rate:g}/s"]
            for metric in METRICS:
                for name in STATISTICS:
                    ours = statistic(name, each.best.of(metric, chosen))
                    ratio = ours / statistic(name, run.measured.of(metric, chosen))
                    cells.append(ratio_cell(run, metric, name, ratio, place=f"stage {stage}"))
            rows.append(cells)
    header = ["stage", *(f"{metric[:-2].upper()} {name}" for metric in METRICS for name in STATISTICS)]
    return table(header, rows)


def repeat_fraction(run: MeasuredRun, lag: int) -> float:
    """Part of the requests whose prompt is as long as that of the request ``lag`` before."""
    return float(np.mean(run.isl_tokens[lag:] == run.isl_tokens[:-lag]))


def prefix_table(found: Iterable[Compared]) -> list[str]:
    """Evidence that prompts repeat and are cached, and what is predicted if they were not."""
    rows = []
    for each in found:
        run, alone = each.run, each.different
        if alone is None or run.repeats_every is None:
            continue
        period = run.repeats_every
        other = max(repeat_fraction(run, lag) for lag in range(1, 2 * period) if lag % period)
        ttft = run.measured.ttft_s
        cells = [
            run.name,
            f"{100 * repeat_fraction(run, period):.1f} %",
            f"{100 * other:.0f} %",
            shown(1e3 * float(np.median(ttft[period // 2 : period]))),
            shown(1e3 * float(np.median(ttft[period : period + period // 2]))),
        ]
        for metric in METRICS:
            ratio = float(alone.of(metric).mean() / run.measured.of(metric).mean())
            cells.append(ratio_cell(run, metric, "mean", ratio, place="different"))
        rows.append(cells)
    header = (
        "run",
        "as long as 100 before",
        "at the best other lag",
        "TTFT of 50..99 [ms]",
        "TTFT of 100..149 [ms]",
        "TTFT mean ratio",
        "TPOT mean ratio",
        "E2E mean ratio",
    )
    return table(header, rows)


def first_token_lines(found: Iterable[Compared]) -> tuple[list[str], text.Waits, text.Waits]:
    """Percentiles of TTFT over the stages as straight lines in the time per token; predicted, measured."""
    steps, theirs, ours = [], [], []
    for each in found:
        run = each.run
        if run.clock != "client" or run.name in text.FULL:
            continue
        for stage in range(len(run.rates_per_s)):
            chosen = settled(run, stage)
            steps.append([np.median(which.of("tpot_s", chosen)) for which in (run.measured, each.best)])
            theirs.append(np.percentile(run.measured.of("ttft_s", chosen), (5, 50, 95)))
            ours.append(np.percentile(each.best.of("ttft_s", chosen), (5, 50, 95)))
    step, measured, simulated = np.array(steps), np.array(theirs), np.array(ours)
    cells: list[list[str]] = [["5 %"], ["50 %"], ["95 %"]]
    waits = []
    for which, values in ((1, simulated), (0, measured)):
        lines = [np.polyfit(step[:, which], values[:, column], 1) for column in range(3)]
        for column, (slope, constant) in enumerate(lines):
            far = np.abs(values[:, column] - (slope * step[:, which] + constant)).max()
            cells[column] += [f"{slope:.2f}", f"{1e3 * constant:.1f}", f"{1e3 * far:.1f}"]
        slopes, constants = ((float(a), float(b), float(c)) for a, b, c in zip(*lines, strict=True))
        waits.append(text.Waits(steps=slopes, constants_s=constants))
    header = (
        "percentile",
        *(
            f"{who}: {what}"
            for who in ("predicted", "measured")
            for what in ("steps", "plus [ms]", "farthest [ms]")
        ),
    )
    return [f"Over {len(steps)} stages:", "", *table(header, cells)], waits[0], waits[1]


def missing_table(found: Iterable[Compared]) -> tuple[list[str], tuple[float, float, float]]:
    """Mean TTFT as predicted and measured; what is missing, as ``text.other_signs`` says it. [s]"""
    rows, missing = [], []
    for each in found:
        run = each.run
        if run.clock != "client" or run.name in text.FULL:
            continue
        for stage, rate in enumerate(run.rates_per_s):
            chosen = settled(run, stage)
            ours = float(each.best.ttft_s[chosen].mean())
            theirs = float(run.measured.ttft_s[chosen].mean())
            cells = (f"{1e3 * value:.1f}" for value in (ours, theirs, theirs - ours))
            rows.append((f"{run.name}, {rate:g}/s", *cells, f"{ours / theirs:.2f}"))
            missing.append((rate, theirs - ours))
    largest = max(rate for rate, _ in missing)
    lower = [short_s for rate, short_s in missing if rate < largest]
    most_s = max(short_s for rate, short_s in missing if rate == largest)
    header = ("stage", "predicted", "measured", "still missing", "ratio")
    return table(header, rows), (min(lower), max(lower), most_s)


def quarters(by: FloatArray, residual: FloatArray) -> str:
    """Least and largest median of the residual over the quarters of another number."""
    edges = np.percentile(by, (25, 50, 75))
    which = np.searchsorted(edges, by, side="left")
    medians = [float(np.median(residual[which == part])) for part in np.unique(which)]
    return f"{min(medians):.2f} to {max(medians):.2f}"


def residual_table(found: Iterable[Compared]) -> list[str]:
    """Predicted over measured in quarters of the time, the load and the prompts."""
    rows = []
    for each in found:
        run = each.run
        last = len(run.rates_per_s) - 1
        chosen = settled(run, last) if run.clock == "client" else np.ones(run.arrival_s.size, dtype=np.bool_)
        by = (run.arrival_s[chosen], in_system(run)[chosen], run.isl_tokens[chosen].astype(np.float64))
        cells = [f"{run.name}, {run.rates_per_s[last]:g}/s"]
        for metric in ("ttft_s", "tpot_s"):
            residual = each.best.of(metric, chosen) / run.measured.of(metric, chosen)
            cells += [quarters(values, residual) for values in by]
        rows.append(cells)
    header = [
        "stage",
        *(f"{metric} by {by}" for metric in ("TTFT", "TPOT") for by in ("time", "load", "prompt")),
    ]
    return table(header, rows)


def page() -> str:
    """The whole page."""
    found = [compare(run) for run in read_runs(MEASURED)]
    named = {each.run.name: each for each in found}
    numbers = overload(named[text.OVERLOADED])
    lines = [text.INTRODUCTION, *conditions(found), "", text.CONDITIONS]
    for metric, title in text.TITLES.items():
        lines += ["", title, "", *latency_table(found, metric)]
    lines += [
        "",
        text.notes(
            numbers, *(mean_in_system(named[name], stage=1) for name in (text.NEARLY_FULL, text.BUSY))
        ),
    ]
    lines += ["", text.STAGES, *stage_table(found)]
    lines += [
        "",
        text.PREFIX,
        *prefix_table(found),
        "",
        text.prefix_found(prefill_fractions(found), tpot_ratios(found)),
    ]
    waits, ours, theirs = first_token_lines(found)
    missing, missing_s = missing_table(found)
    lines += ["", text.FIRST_TOKEN, *waits, "", text.planned_ahead(ours, theirs), *missing]
    lines += ["", text.other_signs(numbers, engine_clock_gap(named[text.ENGINE_CLOCK]), missing_s)]
    lines += ["", text.RESIDUALS, *residual_table(found), "", text.closing(tpot_groups(found))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    TARGET.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
