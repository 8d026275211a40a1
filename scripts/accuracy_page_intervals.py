"""Coverage of intervals on docs/accuracy.md."""

from __future__ import annotations

from collections.abc import Sequence

import accuracy_page_data as data
import accuracy_page_text as text
from accuracy_page_tables import table

COVERAGE_BAR = (0.85, 0.95)
METRIC_WORDS = {
    "total_tokens_per_s": "throughput",
    "tpot_s": "TPOT, mean",
    "tpot_p50_s": "TPOT, median",
    "tpot_p99_s": "TPOT, p99",
    "ttft_s": "TTFT, mean",
    "ttft_p50_s": "TTFT, median",
    "ttft_p99_s": "TTFT, p99",
    "e2e_s": "E2E, mean",
    "e2e_p50_s": "E2E, median",
    "e2e_p99_s": "E2E, p99",
}


def pooled(coverage: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Coverage by prediction and metric, over the rows of all folds."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for line in coverage:
        found.setdefault((line["prediction"], line["metric"]), []).append(line)
    return [
        {
            "prediction": prediction,
            "metric": metric,
            "left_out": "each",
            "rows": str(sum(int(line["rows"]) for line in lines)),
            "groups": str(sum(int(line["groups"]) for line in lines)),
            "inside": data.digits(_mean_by_rows(lines, "inside")),
            "width": data.digits(_mean_by_rows(lines, "width")),
        }
        for (prediction, metric), lines in found.items()
    ]


def _mean_by_rows(lines: Sequence[dict[str, str]], name: str) -> float:
    rows = sum(int(line["rows"]) for line in lines)
    return sum(int(line["rows"]) * float(line[name]) for line in lines) / rows


def covered_bar(what: str, lines: Sequence[dict[str, str]]) -> tuple[str, str, str, str]:
    """A line of the targets."""
    outside = [line for line in lines if not _covered(line)]
    verdict = "no rows" if not lines else "met" if not outside else f"**missed** by {len(outside)}"
    return (
        what,
        f"{len(lines) - len(outside)} of {len(lines)} inside",
        "85 to 95 % of the rows in each",
        verdict,
    )


def simulated(coverage: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Without those of the closed form."""
    return [line for line in coverage if line["prediction"] == "simulated"]


def _covered(line: dict[str, str]) -> bool:
    return COVERAGE_BAR[0] <= float(line["inside"]) <= COVERAGE_BAR[1]


def intervals(coverage: Sequence[dict[str, str]]) -> list[str]:
    """What intervals contain of groups that had no part in them."""
    lines = ["## Intervals", ""]
    if not coverage:
        return [*lines, text.NO_COVERAGE]
    lines += [
        "How many measured values lie in 90 % intervals in which neither their group nor parameters fitted",
        "to it had a part, and how wide they are (high over low end, median over rows). Rows of quality A",
        "and B; first the folds together (every row once for each), then each alone.",
        "",
    ]
    header = ("prediction", "metric", "left out", "rows", "groups", "inside", "high over low", "85 to 95 %")
    rows = [
        (
            line["prediction"],
            METRIC_WORDS.get(line["metric"], line["metric"]),
            line["left_out"],
            line["rows"],
            line["groups"],
            f"{100.0 * float(line['inside']):.1f} %",
            f"{1.0 + float(line['width']):.3g}",
            "met" if _covered(line) else "**missed**",
        )
        for line in (*pooled(coverage), *coverage)
    ]
    return [*lines, *table(header, rows, left=3)]
