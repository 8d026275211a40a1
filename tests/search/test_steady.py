"""The screen's arrays against the closed form of one deployment at a time."""

from __future__ import annotations

import numpy as np
import pytest
from planning import CATALOG, ENGINE

from tokenroof.deploy.colocated import table_of
from tokenroof.deploy.core import Deployment, Role
from tokenroof.deploy.disaggregated import serve_apart
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.generation import plan_of
from tokenroof.graph.core import Parallel
from tokenroof.search.space import Subject
from tokenroof.search.steady import Ask, decoding_alone, prefilling, settle, together, tokens_per_step
from tokenroof.workload.core import RequestShape

CASES = [
    ("llama-3.1-8b", "h100", Parallel(), 1000, 200),
    ("llama-3.3-70b", "h100", Parallel(tp=4), 3000, 300),
    ("llama-3.3-70b", "l40s", Parallel(tp=4, pp=2), 1000, 200),
    ("llama-3.3-70b", "mi300x", Parallel(tp=2), 30_000, 500),
    ("deepseek-v3", "h200", Parallel(dp=8, ep=8), 1500, 300),
]


def case(model: str, chip: str, parallel: Parallel, isl: int, osl: int) -> tuple[Subject, Ask]:
    spec = CATALOG.model(model)
    subject = Subject(
        chip=CATALOG.chip(chip), engine=ENGINE, parallel=parallel, precision=spec.precision, drafting=None
    )
    shape = RequestShape(isl_tokens=isl, osl_tokens=osl)
    return subject, Ask(model=spec, shape=shape, computed_fraction=1.0, expert_load_factor=1.0)


@pytest.mark.parametrize(("model", "chip", "parallel", "isl", "osl"), CASES)
def test_a_replica_that_does_both_is_that_of_the_estimate(
    model: str, chip: str, parallel: Parallel, isl: int, osl: int
) -> None:
    subject, ask = case(model, chip, parallel, isl, osl)
    batches = np.array([1, 7, 16])
    budget = np.full(3, ENGINE.max_num_batched_tokens)
    (found,) = settle(subject, ask, [together(subject, ask, batches, budget)])
    deployment = subject.deployment(ask.model)
    for at, batch in enumerate(batches.tolist()):
        one = estimate(deployment, ask.shape, catalog=CATALOG, batch=batch)
        assert one.feasible, one.infeasible
        assert found.requests_per_s[at] == pytest.approx(one.metrics["requests_per_s"].value, rel=0.01)
        assert found.tpot_s[at] == pytest.approx(one.metrics["tpot_s"].value, rel=0.01)
        assert found.step_s[at] == pytest.approx(one.metrics["decode_step_s"].value, rel=0.01)


@pytest.mark.parametrize(("model", "chip", "parallel", "isl", "osl"), CASES)
def test_pools_apart_are_those_of_the_estimate(
    model: str, chip: str, parallel: Parallel, isl: int, osl: int
) -> None:
    subject, ask = case(model, chip, parallel, isl, osl)
    prefill, decode = subject.pool(Role.PREFILL), subject.pool(Role.DECODE)
    deployment = Deployment(model=ask.model, precision=subject.precision, pools=(prefill, decode))
    plan = plan_of(ask.model, ask.shape)
    table = table_of(decode, deployment, plan)
    flooded = serve_apart(prefill, decode, deployment, ask.shape, plan, 4096, table)
    budgets = np.array([ENGINE.max_num_batched_tokens])
    first, second = settle(
        subject,
        ask,
        [prefilling(subject, ask, budgets), decoding_alone(subject, ask, np.array([flooded.decoding]))],
    )
    assert first.ttft_s[0] == pytest.approx(flooded.prefill_s, rel=0.01)
    assert flooded.waiting_s > 0.0, "so many that the prompts queue"
    assert first.requests_per_s[0] == pytest.approx(flooded.requests_per_s, rel=0.01)
    assert second.tpot_s[0] == pytest.approx(flooded.tpot_s, rel=0.01)


def test_a_draft_that_is_always_right_is_a_token_more_a_step() -> None:
    assert tokens_per_step(3, 1.0) == 4.0
    assert tokens_per_step(3, 0.0) == 1.0
    assert tokens_per_step(2, 0.5) == pytest.approx(1.75)
