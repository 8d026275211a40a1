"""Tables of docs/accuracy.md: errors of subsets beside bars, noise and peers; by group; held out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from accuracy_page_data import KINDS, Predicted

from tokenroof.calibrate.validation.files import SHIPPED, references
from tokenroof.calibrate.validation.results import Score
from tokenroof.calibrate.validation.score import error, score
from tokenroof.report.validation import LABELS, percent

Rows = Sequence[Predicted]
Test = Callable[[Predicted], bool]

LEAST = 5
"""Rows below which a group has no bar."""

WORST_BAR = 0.15
LOOKUP, ROOFLINES = "best tool that looks up measured kernels", "rooflines on datasheet figures"
FOLD_WORDS: Mapping[str, str] = {
    "hardware": "its chip",
    "model": "its model",
    "framework": "its framework",
    "shape": "its lengths",
}
SIMPLE_BAR = 0.15
BARS: Mapping[str, float] = {"total_tput_per_gpu": 0.06, "mean_tpot_s": 0.06, "median_ttft_s": 0.18}
"""Of the median absolute error of servings."""
P90_BAR = 0.20
KIND_BARS: Mapping[str, float] = {"throughput": 0.11, "tpot": 0.11, "ttft": 0.30}
"""Of the median when a row's group is left out."""
KIND_LABELS: Mapping[str, str] = {"throughput": "throughput", "tpot": "TPOT", "ttft": "TTFT"}


def table(header: Iterable[str], rows: Iterable[Iterable[str]], *, left: int = 1) -> list[str]:
    """A table in Markdown, the first columns to the left and the others to the right."""
    header = list(header)
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


# --- which rows ----------------------------------------------------------------------------------


def is_serving(row: Predicted) -> bool:
    """A row with latencies, not one of a published table of throughputs."""
    return row.file == SHIPPED[0]


def is_fit(row: Predicted) -> bool:
    """Of quality A or B."""
    return row.text("quality") in ("A", "B")


def is_apart(row: Predicted) -> bool:
    """Disaggregated: prefill and decode on chips of their own."""
    return is_serving(row) and row.text("disagg").lower().startswith("true")


def is_open_serving(row: Predicted) -> bool:
    """What the bars of servings are about."""
    return is_serving(row) and is_fit(row) and not is_apart(row)


def is_offline(row: Predicted) -> bool:
    """A row of the tables whose requests are all there from the beginning."""
    return not is_serving(row) and row.text("load").startswith("offline")


def is_limited(row: Predicted) -> bool:
    """The highest rate within limits of latency."""
    return not is_serving(row) and "SLO" in row.text("load")


def is_amd(row: Predicted) -> bool:
    """On a chip of AMD."""
    return row.text("hardware").startswith("MI")


def is_tpu(row: Predicted) -> bool:
    """On a TPU."""
    return row.text("hardware").startswith("TPU")


def is_of_peers(row: Predicted) -> bool:
    """An InferenceMAX run on an NVIDIA chip: what the figures of the lookup tool are about."""
    return row.text("source") == "InferenceMAX" and not is_amd(row) and not is_tpu(row)


MAIN, MAIN_WITH_APART = "Servings of quality A and B", "Servings of quality A and B, disaggregated included"
PEERS = "InferenceMAX runs on NVIDIA"
SIMPLE = ("Disaggregated", "AMD", "TPU", "Offline tables")
"""Subsets whose throughput has one target, in the median."""

SUBSETS: tuple[tuple[str, str, Test], ...] = (
    (
        MAIN,
        "Closed and open loop, prefill and decode on the same chips: what the targets of servings are about.",
        is_open_serving,
    ),
    (MAIN_WITH_APART, "The same with the disaggregated rows.", lambda row: is_serving(row) and is_fit(row)),
    (PEERS, "The rows that the lookup tool's figures are about.", is_of_peers),
    (
        "Open loop",
        "Servings whose requests arrive at a given rate.",
        lambda row: is_serving(row) and row.text("load").startswith("open"),
    ),
    ("Disaggregated", "Prefill and decode on chips of their own, all qualities.", is_apart),
    ("AMD", "All rows of both files on AMD chips.", is_amd),
    ("TPU", "All rows of both files on TPUs.", is_tpu),
    (
        "Offline tables",
        "TensorRT-LLM's performance overview, MLPerf Offline, publications: throughput of a queue.",
        lambda row: not is_serving(row) and not is_limited(row),
    ),
    ("Highest rate within limits", "MLPerf Server and Interactive: found by a search.", is_limited),
    (
        "Servings of quality C",
        "Weakly specified, cold starts or mixed versions; they count little in the fit.",
        lambda row: is_serving(row) and not is_fit(row),
    ),
)
"""Title, what it is, which rows."""


def bars_of(title: str) -> Mapping[str, float]:
    """Targets of the medians of a subset, by metric."""
    if title in (MAIN, MAIN_WITH_APART):
        return BARS
    return dict.fromkeys(("throughput", "total_tput_per_gpu"), SIMPLE_BAR) if title in SIMPLE else {}


# --- errors --------------------------------------------------------------------------------------


def scored(rows: Iterable[Predicted], metric: str) -> Score:
    """Errors with the shipped parameters."""
    return score((row.outcome for row in rows), metric)


def held_out(rows: Iterable[Predicted], metric: str, fold: str) -> tuple[Score, Score]:
    """Errors of the rows that a fold predicted: with the shipped parameters, and without the row's group."""
    some = [row for row in rows if metric in row.without.get(fold, {})]
    return scored(some, metric), score((row.held_out(fold) for row in some), metric)


def verdict(value: float | None, bar: float) -> str:
    """Whether an error is within its bar."""
    if value is None:
        return "no rows"
    return "met" if value <= bar else f"**missed** by {100.0 * (value - bar):.1f} points"


def subset_table(rows: Rows, bars: Mapping[str, float], *, peers_known: bool) -> list[str]:
    """Every metric that the rows have; throughput of whatever tokens are counted first.

    Parameters
    ----------
    rows : sequence of Predicted
        Of the subset.
    bars : mapping of str to float
        Of medians, by metric.
    peers_known : bool
        Whether the peers' figures are about such rows.
    """
    noise = {each.metric: each for each in references() if each.kind == "noise"}
    tools = (LOOKUP, ROOFLINES) if peers_known else ()
    peers = {(each.name, each.metric): each.median for each in references() if each.kind == "tool"}
    lines = []
    for metric, label in {"throughput": "throughput, as published", **LABELS}.items():
        found = scored(rows, metric)
        if not found.n or (metric == "throughput" and found.n == scored(rows, "total_tput_per_gpu").n):
            continue
        floor, bar = noise.get(metric), bars.get(metric)
        lines.append(
            (
                label,
                str(found.n),
                "-" if bar is None else f"{percent(bar)}, {verdict(found.median_fraction, bar)}",
                *(percent(x) for x in (found.median_fraction, found.mean_fraction, found.p90_fraction)),
                percent(found.bias_fraction, signed=True),
                percent(found.interval_fraction),
                "-" if floor is None else f"{floor.median} / {floor.p90} %",
                *(_peer(peers, name, metric) for name in tools),
            )
        )
    header = ("metric", "n", "target", "median", "mean", "p90", "bias", "in interval", "noise, median / p90")
    return table((*header, *(f"{name}, median" for name in ("lookup tool", "rooflines") if tools)), lines)


def _peer(peers: Mapping[tuple[str, str], str], name: str, metric: str) -> str:
    return f"{peers[name, metric]} %" if (name, metric) in peers else "-"


def held_out_table(rows: Rows, bars: Mapping[str, float]) -> list[str]:
    """By fold and kind of metric, the fit beside what is left out."""
    lines = []
    for fold, words in FOLD_WORDS.items():
        for kind, label in KIND_LABELS.items():
            fit, without = held_out(rows, kind, fold)
            if not without.n:
                continue
            bar = bars.get(kind)
            lines.append(
                (
                    words,
                    label,
                    str(without.n),
                    percent(fit.median_fraction),
                    percent(without.median_fraction),
                    percent(without.mean_fraction),
                    percent(without.p90_fraction),
                    percent(without.bias_fraction, signed=True),
                    "-" if bar is None else percent(bar),
                    "-" if bar is None else verdict(without.median_fraction, bar),
                )
            )
    header = (
        "left out",
        "metric",
        "n",
        "fit, median",
        "held out, median",
        "mean",
        "p90",
        "bias",
        "target",
        "",
    )
    return table(header, lines, left=2)


# --- groups --------------------------------------------------------------------------------------

_CONCURRENCY = re.compile(r"closed:conc=(\d+)")


def concurrency_of(row: Predicted) -> str:
    """Requests in progress, in steps of four; or the kind of load."""
    found = _CONCURRENCY.match(row.text("load"))
    if found is None:
        return row.text("load").split(":")[0] or "not said"
    step = 4 ** math.floor(math.log(int(found[1]) + 0.5, 4))
    return f"{step} to {4 * step - 1}"


def lengths_of(row: Predicted) -> str:
    """Prompt and answer as the row names them."""
    isl, osl = (row.text(name) or row.text(f"{name}_mean") for name in ("isl", "osl"))
    return f"{float(isl):.0f} / {float(osl):.0f}" if isl and osl else f"{isl or '?'} / {osl or '?'}"


def tp_of(row: Predicted) -> str:
    """Chips of a tensor-parallel group."""
    return "apart" if is_apart(row) else row.text("tp") or "not said"


def drafts_of(row: Predicted) -> str:
    """Whether tokens are drafted."""
    return row.text("spec_decoding") or "none"


def groups(rows: Rows, key: Callable[[Predicted], tuple[str, ...]]) -> dict[tuple[str, ...], list[Predicted]]:
    """Rows by key; numbers in their order."""
    found: dict[tuple[str, ...], list[Predicted]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return {name: found[name] for name in sorted(found, key=lambda name: [_natural(part) for part in name])}


def _natural(text: str) -> list[tuple[int, float, str]]:
    return [
        (0, float(part), "") if part.replace(".", "", 1).isdigit() else (1, 0.0, part)
        for part in re.split(r"(\d+(?:\.\d+)?)", text)
        if part
    ]


def worst_group(found: Mapping[tuple[str, ...], Rows], metric: str = "throughput") -> tuple[str, ...] | None:
    """The group of five or more rows with the largest median error."""
    large = {name: scored(rows, metric) for name, rows in found.items()}
    medians = {name: each.median_fraction for name, each in large.items() if each.n >= LEAST}
    return max(medians, key=lambda name: medians[name] or 0.0, default=None)


def group_table(
    rows: Rows, header: Sequence[str], key: Callable[[Predicted], tuple[str, ...]], *, bar: bool = False
) -> list[str]:
    """Median errors by group, the worst of the larger ones in bold."""
    found = groups(rows, key)
    worst = worst_group(found)
    lines = []
    for name, members in found.items():
        scores = {kind: scored(members, kind) for kind in KINDS}
        tput = scores["throughput"]
        cells = [
            *name,
            str(len(members)),
            percent(tput.median_fraction),
            percent(tput.p90_fraction),
            percent(tput.bias_fraction, signed=True),
            *(percent(scores[kind].median_fraction) for kind in ("tpot", "ttft")),
            percent(scores["ttft"].bias_fraction, signed=True),
        ]
        if bar:
            over = tput.n >= LEAST and (tput.median_fraction or 0.0) > WORST_BAR
            cells.append("over" if over else "")
        lines.append([f"**{cell}**" for cell in cells] if name == worst else cells)
    columns = ("rows", "throughput", "p90", "bias", "TPOT", "TTFT", "TTFT bias")
    return table((*header, *columns, *(("15 %",) if bar else ())), lines, left=len(header))


def over_bar(rows: Rows) -> dict[tuple[str, ...], Score]:
    """Groups of five or more rows with a median throughput error over the bar, the worst first."""
    found = {name: scored(members, "throughput") for name, members in groups(rows, by_configuration).items()}
    missed = {
        name: each
        for name, each in found.items()
        if each.n >= LEAST and (each.median_fraction or 0.0) > WORST_BAR
    }
    return dict(sorted(missed.items(), key=lambda item: -(item[1].median_fraction or 0.0)))


def by_configuration(row: Predicted) -> tuple[str, ...]:
    """Hardware, model, framework."""
    return row.text("hardware"), row.text("model"), row.text("framework")


def worst_rows(rows: Rows, count: int) -> list[str]:
    """Rows that are furthest off in throughput or TPOT."""
    ranked = []
    for row in rows:
        offs = [
            (kind, off) for kind in ("throughput", "tpot") if (off := error(row.outcome, kind)) is not None
        ]
        if offs:
            kind, off = max(offs, key=lambda each: abs(math.log1p(each[1])))
            ranked.append((abs(math.log1p(off)), row, kind, off))
    ranked.sort(key=lambda each: (-each[0], each[1].outcome.row.id))
    return table(
        ("row", "hardware", "model", "framework", "load", "metric", "error"),
        (
            (
                row.outcome.row.id,
                *by_configuration(row),
                cell(row.text("load"), 40),
                KIND_LABELS[kind],
                percent(off, signed=True),
            )
            for _, row, kind, off in ranked[:count]
        ),
        left=6,
    )


def cell(text: str, most: int = 400) -> str:
    """Text that may stand in a table."""
    text = text.replace("|", "/").replace("\n", " ")
    return text if len(text) <= most else f"{text[: most - 3]}..."
