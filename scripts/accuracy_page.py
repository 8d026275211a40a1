"""Write docs/accuracy.md and its charts: predicted against measured servings.

Run as ``python scripts/accuracy_page.py`` to write, with ``--check`` to fail when the page is stale.
Simulates nothing: reads what ``scripts/predict_validation.py`` has written into calibration/validation, and
the shipped parameters. The words are in ``accuracy_page_text.py``, the tables in ``accuracy_page_tables.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import accuracy_page_data as data
import accuracy_page_tables as tables
import accuracy_page_text as text
from accuracy_page_charts import CHARTS, pictures
from accuracy_page_intervals import covered_bar, intervals, pooled, simulated
from accuracy_page_tables import Rows, percent, table, verdict

from tokenroof.calibrate.validation.results import Score
from tokenroof.calibrate.validation.score import reasons
from tokenroof.catalog.tuning import TUNABLES, Tuning, shipped

PAGE = data.ROOT / "docs" / "accuracy.md"
EFFICIENCY = data.ROOT / "src" / "tokenroof" / "catalog" / "data" / "efficiency"
MOST_PARAMETERS = 150
LEAST_PREDICTED = 0.97
WORST_ROWS = 15
_WORDS = {
    "total_tput_per_gpu": "total throughput",
    "mean_tpot_s": "mean TPOT",
    "median_ttft_s": "median TTFT",
}


def page(rows: Rows, coverage: Sequence[dict[str, str]], tuning: Tuning) -> str:
    """The whole page."""
    lines = [text.INTRODUCTION, "", *bars(rows, coverage, tuning), "", *headline(rows)]
    lines += [
        "",
        *held_out(rows, tuning),
        "",
        *by_group(rows),
        "",
        *intervals(coverage),
        "",
        *parameters(tuning),
    ]
    lines += ["", *unpredicted(rows), "", "## What is known to be weak", "", *text.weak(rows)]
    return "\n".join(lines) + "\n"


# --- sections ------------------------------------------------------------------------------------


def bars(rows: Rows, coverage: Sequence[dict[str, str]], tuning: Tuning) -> list[str]:
    """What the project set out to reach, and whether it is."""
    found = [(name, told, percent(bar), verdict(value, bar)) for name, told, value, bar in _error_bars(rows)]
    over = tables.over_bar([row for row in rows if tables.is_open_serving(row)])
    worst = next((f"; worst {', '.join(name)}: {percent(s.median_fraction)}" for name, s in over.items()), "")
    found.append(
        (
            "hardware, model and framework with 5 rows or more: throughput, median",
            f"{len(over)} groups above{worst}",
            f"{percent(tables.WORST_BAR)} in each",
            "met" if not over else f"**missed** by {len(over)} groups",
        )
    )
    predicted = sum(bool(row.outcome.predicted) for row in rows)
    part = predicted / len(rows)
    found.append(
        (
            "rows of both files with a prediction",
            f"{predicted} of {len(rows)}, {percent(part)}",
            f"at least {percent(LEAST_PREDICTED)}",
            "met" if part >= LEAST_PREDICTED else "**missed**",
        )
    )
    found += [
        covered_bar(f"90 % intervals, cross-validated: {what}", lines)
        for what, lines in (
            ("metrics, all folds together", pooled(simulated(coverage))),
            ("metrics, each fold alone", simulated(coverage)),
        )
    ]
    count = len(tuning.parameters)
    found.append(
        (
            "parameters fitted to servings",
            str(count),
            f"under {MOST_PARAMETERS}",
            "met" if count < MOST_PARAMETERS else "**missed**",
        )
    )
    return [
        "## Targets",
        "",
        "What the project set out to reach, of absolute errors; where and why it is missed is below.",
        "",
        *table(("what", "found", "target", ""), found, left=4),
    ]


def _error_bars(rows: Rows) -> list[tuple[str, str, float | None, float]]:
    """Name, what was found, the value that counts, the bar."""
    found: list[tuple[str, str, float | None, float]] = []
    subsets = {title: [row for row in rows if test(row)] for title, _, test in tables.SUBSETS}

    def add(name: str, score: Score, value: float | None, bar: float) -> None:
        found.append((name, f"{percent(value)} of {score.n} rows", value, bar))

    for title in (tables.MAIN, tables.MAIN_WITH_APART):
        for metric, bar in tables.BARS.items():
            score = tables.scored(subsets[title], metric)
            add(f"{title}: {_WORDS[metric]}, median", score, score.median_fraction, bar)
        score = tables.scored(subsets[title], "total_tput_per_gpu")
        add(f"{title}: total throughput, p90", score, score.p90_fraction, tables.P90_BAR)
    for fold, words in tables.FOLD_WORDS.items():
        for kind, bar in tables.KIND_BARS.items():
            score = tables.held_out(subsets[tables.MAIN], kind, fold)[1]
            name = f"held out, without {words}: {tables.KIND_LABELS[kind]}, median"
            add(name, score, score.median_fraction, bar)
    for title in tables.SIMPLE:
        score = tables.scored(subsets[title], "throughput")
        add(f"{title}: throughput, median", score, score.median_fraction, tables.SIMPLE_BAR)
    return found


def headline(rows: Rows) -> list[str]:
    """Errors of subsets, metric by metric, with charts."""
    lines = ["## Errors", ""]
    lines += [f"![Predicted against measured, a dot per row]({CHARTS['scatter']})", ""]
    lines += [f"![How many rows have which error]({CHARTS['errors']})"]
    for title, what, test in tables.SUBSETS:
        members = [row for row in rows if test(row)]
        predicted = sum(bool(row.outcome.predicted) for row in members)
        lines += ["", f"### {title}", "", f"{what} {len(members)} rows, {predicted} predicted.", ""]
        known = title in (tables.MAIN, tables.PEERS)
        lines += tables.subset_table(members, tables.bars_of(title), peers_known=known)
    return lines


def held_out(rows: Rows, tuning: Tuning) -> list[str]:
    """Cross-validation beside the fit."""
    lines = ["## Left out", ""]
    lines += [
        "Every row predicted with parameters that were fitted without all rows that share its chip, "
        "its model, its",
        'framework or its lengths. "fit" is the error of the same rows with the shipped parameters.',
    ]
    known = [(row, fold) for row in rows for fold in row.without if row.without[fold]]
    moved = any(
        not math.isclose(row.without[fold][metric], row.outcome.predicted[metric], rel_tol=1e-3)
        for row, fold in known
        for metric in row.without[fold]
        if metric in row.outcome.predicted
    )
    if not tuning.parameters:
        lines += ["", text.NO_PARAMETERS]
    if not known:
        return [*lines, "", text.NOT_HELD_OUT]
    if tuning.parameters and not moved:
        lines += ["", text.SAME_HELD_OUT]
    for title, _, test in tables.SUBSETS:
        members = [row for row in rows if test(row)] if title in (tables.MAIN, *tables.SIMPLE) else []
        if any(row.without[fold] for row in members for fold in row.without):
            limits = tables.KIND_BARS if title == tables.MAIN else {}
            lines += ["", f"### {title}, left out", "", *tables.held_out_table(members, limits)]
    return lines


def by_group(rows: Rows) -> list[str]:
    """Errors by what rows are."""
    serving = [row for row in rows if tables.is_serving(row) and tables.is_fit(row)]
    others = [row for row in rows if not tables.is_serving(row)]
    lines = ["## By group", ""]
    lines += ["Median absolute errors; the worst group of 5 rows or more (throughput) is bold.", ""]
    lines += ["### Servings of quality A and B by hardware, model, framework", ""]
    names = ("hardware", "model", "framework")
    lines += tables.group_table(serving, names, tables.by_configuration, bar=True)
    lines += ["", "### Published tables by hardware, model, framework", ""]
    lines += tables.group_table(others, names, tables.by_configuration, bar=True)
    for title, header, key in (
        ("requests in progress", "in progress", tables.concurrency_of),
        ("tensor-parallel chips", "tp", tables.tp_of),
        ("lengths", "prompt / answer", tables.lengths_of),
        ("precision", "weights", lambda row: row.text("weight_precision")),
        ("drafts", "speculation", tables.drafts_of),
        ("source", "source", lambda row: row.text("source")),
    ):
        chosen = serving if title not in ("precision", "source") else rows
        which = "Servings of quality A and B" if chosen is serving else "All rows"
        lines += ["", f"### {which} by {title}", ""]
        lines += tables.group_table(chosen, (header,), lambda row, key=key: (key(row),))
    lines += ["", "### Rows that are furthest off", "", *tables.worst_rows(rows, WORST_ROWS)]
    return lines


def parameters(tuning: Tuning) -> list[str]:
    """Every fitted number with what it rests on."""
    informed = {
        (line["name"], line["scope"]): line for line in data.read_lines(data.INFORMED, data.INFORMED_HEADER)
    }
    lines = ["## Parameters fitted to servings", "", f"{len(tuning.parameters)} in all.", ""]
    if not tuning.parameters:
        lines += [text.NO_PARAMETERS, ""]
    else:
        lines += [
            "Factors of all scopes that hold for a serving are multiplied, seconds added. Standard "
            "errors and the",
            "spread of the prior are of the logarithm for factors (unit 1). The prior is centred on "
            "the value that",
            "changes nothing.",
            "",
            *table(
                ("name", "scope", "unit", "value", "standard error", "prior spread", "rows", "which rows"),
                (
                    (
                        f"`{each.name}`",
                        each.scope,
                        each.tunable.unit,
                        f"{each.value:.4g}",
                        _number(each.standard_error),
                        _number(each.prior_spread),
                        str(each.rows),
                        tables.cell(_which(informed.get((each.name, each.scope)))),
                    )
                    for each in tuning.parameters
                ),
                left=3,
            ),
            "",
        ]
    lines += ["What the names mean:", ""]
    lines += [
        f"- `{name}` ({each.unit}, {each.low:g} to {each.high:g} by scope): {each.meaning}."
        for name, each in TUNABLES.items()
    ]
    counts = text.operator_counts(EFFICIENCY)
    total = [sum(each[place] for each in counts) for place in range(1, 5)]
    lines += ["", "### Operators", "", text.OPERATORS, ""]
    header = ("table", "rows measured", "numbers", "rows assumed", "numbers")
    shown = [(name, *map(str, numbers)) for name, *numbers in counts]
    return [*lines, *table(header, [*shown, ("all", *map(str, total))])]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _which(line: dict[str, str] | None) -> str:
    return "not known" if line is None else "; ".join(line[name] for name in data.INFORMED_HEADER[3:])


def unpredicted(rows: Rows) -> list[str]:
    """Every row that has no prediction, with its reason."""
    missing = [row for row in rows if not row.outcome.predicted]
    unscored = [row for row in missing if not row.outcome.measured]
    lines = ["## Rows without a prediction", "", f"{len(missing)} of {len(rows)}."]
    if unscored:
        lines[-1] += f" {len(unscored)} of them have no measured value that is fit to be scored."
    if not missing:
        return lines
    counts = reasons(row.outcome for row in missing)
    lines += ["", *table(("reason", "rows"), ((tables.cell(why), str(n)) for why, n in counts.items())), ""]
    return [
        *lines,
        *table(
            ("row", "file", "hardware", "model", "framework", "reason"),
            (
                (row.outcome.row.id, row.file, *tables.by_configuration(row), tables.cell(row.outcome.reason))
                for row in missing
            ),
            left=6,
        ),
    ]


def main() -> int:
    """Write page and charts, or check the page."""
    rows = data.read_predictions()
    made = page(rows, data.read_lines(data.COVERAGE, data.COVERAGE_HEADER), shipped())
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == made else 1
    for path, drawn in pictures(rows).items():
        (PAGE.parent / path).write_text(drawn, encoding="utf-8")
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
