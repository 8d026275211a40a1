"""A small plan for the tests of the command: seconds, with a few simulations."""

import sys
from pathlib import Path

import yaml

RUN = [sys.executable, "-c", "import sys; from tokenroof.cli import main; sys.exit(main())", "plan"]
PLAN = {
    "model": "llama-3.1-8b",
    "chips": ["h100", "h200"],
    "traffic": {"rate": 40, "isl": 1000, "osl": 100, "num_requests": 300},
    "slo": {"ttft_p99": "1 s", "tpot_p95": "30 ms"},
    "space": {
        "layouts": [{"tp": 1}, {"tp": 2}],
        "max_num_seqs": [128, 256],
        "max_num_batched_tokens": 8192,
        "disaggregated": False,
    },
}
RESULTS = ("results.json", "question.yaml", "run.json", "report.html")
"""The same after a kill, as are all tables and launch files; times and the order of records are not."""


def plan_file(directory: Path, **changed) -> Path:
    path = directory / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changed}, sort_keys=False))
    return path


def content(run: Path) -> dict[str, bytes]:
    """Every file that has to be the same, by name."""
    paths = [*(run / name for name in RESULTS), *run.glob("*.parquet"), *(run / "deploy").glob("*")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}
