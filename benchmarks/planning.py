"""Speed of planning, printed as a table: the screen of one model over thirty chips, and a whole plan.

The plan is that of `make demo`: Llama-3.3-70B for the Azure 2023 conversation trace on three chips.
"""

from __future__ import annotations

import time

import tokenroof as tr
from tokenroof.api.lookup import load_catalog
from tokenroof.api.planning import question_of
from tokenroof.search.demand import load_of, shape_of
from tokenroof.search.survey import chip_costs, survey

CHIPS = (
    *("a100", "a100-40gb", "a10g", "b200", "b300", "gb200-nvl72", "gb300-nvl72", "gh200", "h100", "h100-nvl"),
    *("h100-pcie", "h20", "h200", "h200-nvl", "h800", "l20", "l4", "l40s", "mi210", "mi300x", "mi325x"),
    *("mi355x", "rtx-pro-6000", "rtx4090", "rtx5090", "tpu-v5e", "tpu-v6e", "tpu-v7", "gaudi3", "trainium2"),
)
SLO = {"ttft_p99": "1 s", "tpot_p95": "40 ms"}
TRACE = "azure-2023-conv"


def screened(model: str) -> tuple[int, float]:
    """Candidates of a model over all these chips with two cache formats, and the time on one core. [s]"""
    catalog = load_catalog()
    asked = question_of(
        catalog, model, list(CHIPS), slo=SLO, formats=(None, ("bf16", "fp8")), traffic={"trace": TRACE}
    )
    requests = asked.workload.requests(0)
    start = time.perf_counter()
    costs = chip_costs(asked, catalog)
    found = survey(asked, load_of(requests), requests, shape_of(requests), costs)
    return found.candidates, time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    for model in ("llama-3.3-70b", "deepseek-v3"):
        count, took_s = screened(model)
        print(f"screen of {model}, {len(CHIPS)} chips: {count:,} candidates in {took_s:.1f} s on one core")
    start = time.perf_counter()
    found = tr.plan("llama-3.3-70b", ["h100", "h200", "mi300x"], trace=TRACE, slo=SLO)
    took_s = time.perf_counter() - start
    print(f"plan: {found.candidates:,} candidates, {found.simulated} simulated in {took_s:.1f} s")


if __name__ == "__main__":
    main()
