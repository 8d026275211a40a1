"""Finished plans that the tests of answers share."""

from __future__ import annotations

from functools import lru_cache

from planning import CATALOG, TPOT, TTFT, question, slower, small_space

from tokenroof.search.core import PlanResult
from tokenroof.search.plan import plan
from tokenroof.search.runs import Memory

STORE = Memory()


@lru_cache
def planned() -> PlanResult:
    """Two kinds of chips, one pool; several choices."""
    asked = question("h100", "l40s", rate=100.0, targets=(slower(TTFT, 2.0), slower(TPOT, 1.5)))
    return plan(asked, catalog=CATALOG, workers=1, store=STORE)


@lru_cache
def planned_apart() -> PlanResult:
    """Prefill and decode apart alone."""
    asked = question(
        "h100",
        rate=100.0,
        space=small_space(colocated=False, disaggregated=True),
        targets=(slower(TTFT, 0.3), slower(TPOT, 0.4)),
    )
    return plan(asked, catalog=CATALOG, workers=1, store=STORE)
