"""The words of docs/accuracy.md. Every figure in them is computed from the rows of the page."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import accuracy_page_tables as tables
from accuracy_page_data import Predicted
from accuracy_page_tables import Rows, Test, scored

from tokenroof.report.validation import LABELS, percent

INTRODUCTION = """# Accuracy

<!-- Written by scripts/accuracy_page.py; do not edit. -->

How far predictions of whole servings are from published measurements: every row of `calibration/validation`
simulated as its benchmark client ran it, nothing left out. On your own runs: `tokenroof validate --data
FILE`. Single [operators](operator-accuracy.md), [collectives](network-accuracy.md),
[energy](energy-accuracy.md) and [recorded request traces](measured-traces.md) have pages of their own.

- **error** is (predicted - measured) / measured; median, mean and p90 are of its absolute value, **bias**
  is its mean with the sign: above 0 is predicted too high.
- **throughput** is that of all tokens where a row has it, of answers or prompts alone otherwise; **TPOT**
  is the mean over requests (the median where there is no mean), **TTFT** the median.
- **held out**: predicted with parameters that were fitted without the rows of the same chip, model,
  framework or lengths. Rows of quality A and B alone are held out.
- **noise**: the same configuration, measured again; nobody can be closer.
- **lookup tool**, **rooflines**: the best public tool that looks up kernels measured on the same GPUs, and
  tools that divide by datasheet figures. The first covers a part of the InferenceMAX rows, on NVIDIA alone;
  its figures are of the rows it covers, so they are no lower bound for the others.
- This page is made from `predictions.csv` (`make accuracy` simulates it again, minutes)."""

NO_PARAMETERS = (
    "**No parameter is fitted to servings yet**: everything on this page is the operator model and "
    "the engines' "
    "rules as they are, so that what is held out changes nothing."
)
NOT_HELD_OUT = (
    "**The predictions without a row's group are not there yet**: `make calibration` writes them "
    "(`scripts/fit_intervals.py --predict`)."
)
SAME_HELD_OUT = (
    "**The predictions without a row's group equal those of the fit**, though parameters are fitted: "
    "they were made "
    "before the parameters. Run `make calibration`."
)
NO_COVERAGE = "**The coverage of intervals is not there yet**: it is computed from cross-validated residuals."

OPERATORS = (
    "Fractions of peaks and of bandwidths, launch times and tile sizes of operators and collectives "
    "(`src/tokenroof/catalog/data/efficiency`) come from kernels and messages that were timed one by "
    "one, or are "
    "stated as assumptions. **They are not fitted to servings** and are not in the count above; "
    "their errors are on "
    "the pages of [operators](operator-accuracy.md) and [collectives](network-accuracy.md)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """Something that is known to be weak.

    Attributes
    ----------
    title, why : str
        What, and what is missing or not known.
    rows : callable, optional
        Which rows show it.
    metrics : tuple of str
        Of which the errors are told.
    """

    title: str
    why: str
    rows: Test | None = None
    metrics: tuple[str, ...] = ()


def _drafted(row: Predicted) -> bool:
    return tables.drafts_of(row) != "none"


def _closed_at(low: int, high: int) -> Test:
    def test(row: Predicted) -> bool:
        found = row.text("load").partition("closed:conc=")[2]
        return tables.is_open_serving(row) and found.isdigit() and low <= int(found) <= high

    return test


WEAKNESSES: tuple[Weakness, ...] = (
    Weakness(
        title="First tokens",
        why=(
            "They hang on what is between client and engine (HTTP, tokenising, streaming), on the "
            "order in which the first wave of a closed loop is admitted, and on stalls without warm-up; "
            "what the client adds is a time, not a distribution. Tails of repeated runs differ by a quarter."
        ),
        rows=tables.is_open_serving,
        metrics=("median_ttft_s", "mean_ttft_s", "p99_ttft_s"),
    ),
    Weakness(
        title="Few requests in progress",
        why=(
            "A step is then launch floors and host time, which differ by engine version and graph "
            "capture more than "
            "kernels measured one by one can say."
        ),
        rows=_closed_at(1, 8),
        metrics=("throughput", "tpot", "ttft"),
    ),
    Weakness(
        title="Many requests in progress",
        why=(
            "The queue decides the first token: a step that is some percent too slow moves it by "
            "many; preemption "
            "and cache limits of the servers are not all published."
        ),
        rows=_closed_at(128, 10**9),
        metrics=("throughput", "tpot", "ttft"),
    ),
    Weakness(
        title="Open loop",
        why=(
            "Prefix caches were on in some of these runs and their state is not recorded; the stages "
            "are pooled, and "
            "the arrivals are drawn again, not replayed (the recorded ones are on the page of "
            "measured traces)."
        ),
        rows=lambda row: tables.is_serving(row) and row.text("load").startswith("open"),
        metrics=("throughput", "tpot", "ttft"),
    ),
    Weakness(
        title="Disaggregated servings",
        why=(
            "Times of hand-offs, the matching of rates between pools and the balance of experts over many "
            "chips are not published with the runs; they are modelled from links and routing rules alone."
        ),
        rows=tables.is_apart,
        metrics=("throughput", "tpot", "ttft"),
    ),
    Weakness(
        title="Speculation",
        why=(
            "No row records how many drafted tokens were accepted: an acceptance by number of drafts is "
            "assumed, so that these rows tell little of engines."
        ),
        rows=_drafted,
        metrics=("throughput", "tpot", "ttft"),
    ),
    Weakness(
        title="AMD",
        why=(
            "No kernel was measured on the chips of these rows: their fractions are those of an older "
            "relative (MI210) or assumed, so that kernels and engines cannot be told apart."
        ),
        rows=tables.is_amd,
        metrics=("throughput", "tpot", "ttft"),
    ),
    Weakness(
        title="TPU",
        why="A handful of rows: they show that nothing is grossly wrong, and no more.",
        rows=tables.is_tpu,
        metrics=("throughput",),
    ),
    Weakness(
        title="MLPerf",
        why=(
            "Submitters tune batches, plugins and kernels and publish a part of it; the lengths of the data "
            "sets are known as means. Measured values of one chip and model differ by 4 to 37 % "
            "across submitters."
        ),
        rows=lambda row: "MLPerf" in row.text("source"),
        metrics=("throughput",),
    ),
    Weakness(
        title="Highest rates within limits",
        why=(
            "The answer of a search for the rate at which the 99th percentile meets a limit: errors "
            "of the tail of "
            "first tokens become errors of throughput."
        ),
        rows=tables.is_limited,
        metrics=("throughput",),
    ),
)


def weak(rows: Rows) -> list[str]:
    """What is known to be weak, with the figures that show it."""
    lines = []
    for each in WEAKNESSES:
        told = ""
        if each.rows is not None:
            members = [row for row in rows if each.rows(row)]
            told = " " + "; ".join(filter(None, (_told(members, metric) for metric in each.metrics))) + "."
        lines.append(f"- **{each.title}.** {each.why}{told}")
    return [*lines, *_of_the_data(rows)]


def _told(rows: Rows, metric: str) -> str:
    found = scored(rows, metric)
    if not found.n:
        return ""
    label = tables.KIND_LABELS.get(metric) or LABELS[metric]
    bias = percent(found.bias_fraction, signed=True)
    return f"{label}: median error {percent(found.median_fraction)}, bias {bias} ({found.n} rows)"


def _of_the_data(rows: Rows) -> list[str]:
    """What the rows themselves do not allow to say."""
    servings = [row for row in rows if tables.is_serving(row)]
    found = tables.groups(servings, tables.by_configuration)
    small = sum(len(members) < tables.LEAST for members in found.values())
    model, count = _most(row.text("model") for row in servings)
    source, of_source = _most(row.text("source") for row in servings)
    return [
        f"- **The rows are not a sample of what people serve.** {count} of {len(servings)} servings "
        f"are of {model}, "
        f"{of_source} are from {source}; {small} of {len(found)} combinations of hardware, model and "
        "framework have "
        f"fewer than {tables.LEAST} rows. A median over rows is mostly theirs.",
        "- **Cross-validation flatters.** Which mechanisms are modelled was decided with the "
        "residuals of all rows in "
        "view; what is left out of a fit was not left out of that.",
    ]


def _most(names: Sequence[str] | object) -> tuple[str, int]:
    counts: dict[str, int] = {}
    for name in names:  # type: ignore[attr-defined]
        counts[name] = counts.get(name, 0) + 1
    return max(counts.items(), key=lambda item: item[1])


def operator_counts(directory: Path) -> list[tuple[str, int, int, int, int]]:
    """Of every table of the operator level: rows measured, numbers in them, rows assumed, their numbers.

    What was not fitted to anything (claims other than "measured") counts as assumed.
    """
    found = []
    for path in sorted(directory.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                (row["claim"] == "measured", len(row["parameters"].split())) for row in csv.DictReader(file)
            ]
        counts = {kind: [numbers for measured, numbers in rows if measured == kind] for kind in (True, False)}
        found.append(
            (path.stem, len(counts[True]), sum(counts[True]), len(counts[False]), sum(counts[False]))
        )
    return found
