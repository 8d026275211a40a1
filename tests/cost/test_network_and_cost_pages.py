"""The model pages of networks and cost: their examples run, their figures are the shipped ones."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from statistics import mean

import pytest

from tokenroof.catalog.efficiency import load
from tokenroof.perf.collectives.core import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("page", "examples"), [("network", 10), ("cost", 10)])
def test_examples_give_what_the_page_shows(page: str, examples: int) -> None:
    result = doctest.testfile(str(DOCS / "model" / f"{page}.md"), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= examples


def test_the_accuracy_page_tells_the_error_of_the_shipped_rows() -> None:
    rows = [
        row
        for row in load()
        if row.op in KINDS and row.claim == "measured" and not row.kernel.startswith("sglang:0.5.12")
    ]
    series = [row for row in rows if (row.op, row.kernels) != ("all_to_all", "trtllm")]
    text = (DOCS / "network-accuracy.md").read_text(encoding="utf-8")
    held_out = f"{100 * mean(row.error_fraction for row in series):.1f} %"
    assert f"| all | all | {len(series)} | {held_out} |" in text
    assert held_out in (DOCS / "model" / "network.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "module",
    [
        "cost.money",
        "cost.energy",
        "cost.carbon",
        "perf.collectives.dispatch",
        "perf.collectives.rows",
        "perf.collectives.topology.torus",
        "perf.collectives.topology.fat_tree",
    ],
)
def test_examples_in_docstrings_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"tokenroof.{module}"))
    assert result.failed == 0
    assert result.attempted >= 1
