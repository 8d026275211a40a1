"""Speed, printed as a table: `make bench`. Every figure is the best of several runs on one core.

A design point is one decode step of a batch at a context and one prefill of a prompt, for
Llama-3.3-70B on eight chips. "direct" evaluates every operator's formula, with the memory bandwidth as
an array as well; "table" looks both up in a compiled step table.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import tokenroof as tr
from tokenroof.catalog.catalog import load
from tokenroof.deploy.sweep import design_points, table_points
from tokenroof.graph.core import Batch, Parallel
from tokenroof.perf import table as tables
from tokenroof.perf.machine import build_machine

POINTS = 200_000
CLI = str(Path(sys.executable).parent / "tokenroof")


def best_s(run: Callable[[], object], *, runs: int = 5) -> float:
    """Shortest of several runs. [s]"""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def process_s(command: list[str], *, runs: int = 5) -> float:
    """Wall time of a fresh process. [s]"""
    return best_s(lambda: subprocess.run(command, check=True, capture_output=True), runs=runs)


def estimate_s() -> float:
    """One estimate through the API, every call another question. [s]"""
    catalog = load()
    model = catalog.model("llama-3.3-70b")

    def ask(concurrency: int) -> object:
        return tr.estimate(
            model=model, chip="h100", tp=8, isl=2000, osl=500, concurrency=concurrency, catalog=catalog
        )

    ask(1)
    return best_s(lambda: [ask(count) for count in range(1, 21)], runs=20) / 20


def main() -> None:
    """Measure and print."""
    catalog = load()
    model, machine = (
        catalog.model("llama-3.3-70b"),
        build_machine(catalog.chip("h100"), catalog.engine("vllm")),
    )
    parallel, formats = Parallel(tp=8), model.precision
    rng = np.random.default_rng(0)
    points = {
        "batch": rng.integers(1, 257, POINTS),
        "context_tokens": rng.integers(100, 16_000, POINTS),
        "prompt_tokens": rng.integers(100, 8000, POINTS),
    }
    swept = rng.uniform(2e12, 8e12, POINTS)
    wider = replace(
        machine, tiers=tuple(replace(tier, bandwidth_bytes_per_s=swept) for tier in machine.tiers)
    )

    def compile_once() -> tables.StepTable:
        return tables.compile_table(model, formats, parallel, replace(machine))

    compiled = compile_once()
    mixed = Batch(
        decode_seqs=points["batch"],
        decode_context_tokens=points["batch"] * points["context_tokens"],
        prefill_seqs=np.ones(POINTS, dtype=np.int64),
        prefill_tokens=points["prompt_tokens"],
        prefill_pairs=points["prompt_tokens"] ** 2 // 2,
        prefill_logits=np.ones(POINTS, dtype=np.int64),
    )
    rows = [
        ("one estimate, warm, through the API", estimate_s() * 1e3, "ms", 3.0, False),
        ("design points, table", POINTS / best_s(lambda: table_points(compiled, **points)), "1/s", 2e5, True),
        (
            "design points, direct, bandwidth swept",
            POINTS / best_s(lambda: design_points(model, formats, parallel, wider, **points), runs=3),
            "1/s",
            None,
            True,
        ),
        ("step table, compile", best_s(compile_once, runs=12) * 1e3, "ms", 50.0, False),
        (
            "step table, decode steps",
            POINTS / best_s(lambda: compiled.decode_step_s(points["batch"], points["context_tokens"])),
            "1/s",
            None,
            True,
        ),
        ("step table, mixed steps", POINTS / best_s(lambda: compiled.step_s(mixed)), "1/s", None, True),
        (
            "import tokenroof",
            process_s([sys.executable, "-c", "import tokenroof"]),
            "s",
            0.5,
            False,
        ),
        (
            "CLI answer",
            process_s([CLI, "estimate", "--model", "llama-3.3-70b", "--chip", "h100"]),
            "s",
            1.5,
            False,
        ),
    ]
    print(f"{'what':42}{'measured':>12} {'unit':5}{'asked':>12}  ")
    for what, value, unit, asked, more_is_better in rows:
        verdict = ""
        if asked is not None:
            verdict = "ok" if (value >= asked) == more_is_better else "MISSED"
        limit = "" if asked is None else f"{'>' if more_is_better else '<'} {asked:,.4g}"
        print(f"{what:42}{value:>12,.4g} {unit:5}{limit:>12}  {verdict}")


if __name__ == "__main__":
    main()
