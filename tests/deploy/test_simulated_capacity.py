"""The highest rate that still meets an SLO, and runs that cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_helpers import deployment, equal_requests, poisson, pool, requests_of, value

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.core import Deployment, Estimate, Role
from tokenroof.deploy.simulated.capacity import Search, at_rate, highest_rate, rate_of
from tokenroof.deploy.simulated.criterion import Attainment, Percentile
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.errors import InputError
from tokenroof.serve.results import State
from tokenroof.workload.core import RequestClass, Slo

SLO = Slo(ttft_s=0.5, tpot_s=0.03)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


@pytest.fixture(scope="module")
def small(catalog: Catalog) -> Deployment:
    return deployment(catalog, "llama-3.1-8b", pool(catalog))


def test_the_same_rate_is_found_from_both_sides(catalog: Catalog, small: Deployment) -> None:
    requests = poisson(600, 10.0, 1000, 100, SLO)
    below, above = (
        highest_rate(
            small, requests, catalog=catalog, search=Search(start_rate_per_s=start, tolerance_fraction=0.01)
        )
        for start in (4.0, 100.0)
    )
    assert below.rate_per_s is not None
    assert above.rate_per_s == pytest.approx(below.rate_per_s, rel=0.01)
    for found in (below, above):
        assert found.bounded
        rates = [probe.rate_per_s for probe in found.probes]
        assert rates == sorted(rates)
        met = [probe.rate_per_s for probe in found.probes if probe.met]
        missed = [probe.rate_per_s for probe in found.probes if not probe.met]
        assert found.rate_per_s == max(met)
        assert min(missed) <= found.rate_per_s * 1.01
        assert all(probe.missed for probe in found.probes if not probe.met)
        # Only the best keeps its requests; all keep what a chart of goodput needs.
        assert [probe.rate_per_s for probe in found.probes if probe.estimate.run is not None] == [max(met)]
        for name in ("good_fraction", "goodput_requests_per_s", "request_rate_per_s", "ttft_p99_s"):
            assert all(name in probe.estimate.metrics for probe in found.probes), name
    assert below.estimate is not None
    assert value(below.estimate, "good_fraction") >= 0.99
    assert value(below.estimate, "request_rate_per_s") == pytest.approx(below.rate_per_s, rel=0.01)


def test_a_looser_criterion_allows_a_higher_rate(catalog: Catalog, small: Deployment) -> None:
    requests = poisson(400, 10.0, 1000, 100, SLO)
    rates = [
        highest_rate(small, requests, catalog=catalog, search=Search(criterion=criterion)).rate_per_s
        for criterion in (Attainment(), Attainment(fraction=0.9), Percentile(quantile="p50"))
    ]
    assert None not in rates
    assert rates == sorted(rates)


def test_an_slo_nobody_can_meet(catalog: Catalog, small: Deployment) -> None:
    requests = poisson(100, 10.0, 1000, 100, Slo(ttft_s=0.001))
    found = highest_rate(small, requests, catalog=catalog)
    assert found.rate_per_s is None
    assert found.infeasible is not None
    assert found.infeasible.reason.startswith("no rate meets the limits: at 0.")
    assert "TTFT p99 is 0.0" in found.infeasible.reason
    assert "> 0.001 s" in found.infeasible.reason
    assert len(found.probes) == 1


def test_requests_that_end_before_anything_fills_say_so(catalog: Catalog, small: Deployment) -> None:
    requests = poisson(5, 10.0, 100, 10, Slo(ttft_s=10.0))
    found = highest_rate(small, requests, catalog=catalog)
    assert not found.bounded
    assert found.rate_per_s is not None


def test_what_has_no_rate_or_no_limit_is_refused(catalog: Catalog, small: Deployment) -> None:
    cases = {
        "rate of a closed loop": equal_requests(4, 100, 10, 2),
        "all sent at once|all requests are sent at once": requests_of([100] * 4, [10] * 4, slo=SLO),
        "no limit is asked for": poisson(10, 1.0, 100, 10),
    }
    for said, requests in cases.items():
        with pytest.raises(InputError, match=said):
            highest_rate(small, requests, catalog=catalog)
    with pytest.raises(InputError, match="tolerance must lie between 0 and 1, got 0"):
        Search(tolerance_fraction=0.0)
    with pytest.raises(InputError, match="unknown quantile 'p42'"):
        Percentile(quantile="p42")
    with pytest.raises(InputError, match=r"above 0 and at most 1, got 1\.1"):
        Attainment(fraction=1.1)


def test_stretching_keeps_the_pattern_and_the_delays() -> None:
    requests = poisson(50, 2.0, 100, 10)
    follows = np.full(50, -1)
    follows[10], follows[20] = 5, 10
    chained = replace(requests, follows=follows)
    faster = at_rate(chained, 4.0 * rate_of(chained))
    free = follows < 0
    assert np.allclose(faster.arrival_s[free], chained.arrival_s[free] / 4.0)
    assert np.array_equal(faster.arrival_s[~free], chained.arrival_s[~free])
    assert rate_of(faster) == pytest.approx(4.0 * rate_of(chained))


def test_a_rate_above_saturation_is_said_first(catalog: Catalog, small: Deployment) -> None:
    answer = simulate(small, poisson(3000, 80.0, 1000, 100), catalog=catalog)
    assert answer.assumptions[0].startswith("unstable: of ")
    assert value(answer, "queue_growth_requests_per_s") > 10.0
    calm = simulate(small, poisson(600, 5.0, 1000, 100), catalog=catalog)
    assert "queue_growth_requests_per_s" not in calm.metrics
    assert not calm.assumptions[0].startswith("unstable")


def tiny(catalog: Catalog, blocks: int) -> Serving:
    settings = engine_options(catalog.engine("vllm"), {"num_gpu_blocks_override": blocks})
    return Serving(pools=(PoolOptions(settings=settings),))


def test_a_request_larger_than_the_cache_is_a_row_with_a_reason(catalog: Catalog, small: Deployment) -> None:
    requests = requests_of([100, 5000, 100], [10, 10, 10], concurrency=1)
    answer = simulate(small, requests, catalog=catalog, serving=tiny(catalog, 100))
    assert answer.run is not None
    assert [State(state) for state in answer.run.log.state] == [
        State.COMPLETED,
        State.REJECTED,
        State.COMPLETED,
    ]
    assert (value(answer, "rejected_requests"), value(answer, "completed_requests")) == (1, 2)


def reason(answer: Estimate) -> str:
    assert answer.infeasible is not None
    assert not answer.metrics
    return answer.infeasible.reason


def test_what_cannot_be_is_an_answer_with_a_reason(catalog: Catalog, small: Deployment) -> None:
    few = equal_requests(3, 2000, 10, 1)
    none_fits = simulate(small, few, catalog=catalog, serving=tiny(catalog, 100))
    assert reason(none_fits).startswith(
        "every request is larger than the cache: the smallest needs 126 blocks"
    )
    large = deployment(catalog, "llama-3.3-70b", pool(catalog))
    assert reason(simulate(large, few, catalog=catalog)).startswith("does not fit: weights 141.1 GB")
    cut = deployment(catalog, "llama-3.1-8b", pool(catalog, tp=3))
    assert reason(simulate(cut, few, catalog=catalog)).startswith("not legal: ")
    longer = requests_of([2000, 200_000], [10, 10], concurrency=1)
    assert reason(simulate(small, longer, catalog=catalog)).startswith("too long: 1 of 2 requests")
    blocks = deployment(catalog, "llada-8b", pool(catalog))
    assert "denoises blocks" in reason(simulate(blocks, equal_requests(2, 100, 10, 1), catalog=catalog))


def test_pools_that_do_not_go_together_are_refused(catalog: Catalog) -> None:
    few = equal_requests(3, 100, 10, 1)
    alone = deployment(catalog, "llama-3.1-8b", pool(catalog, role=Role.PREFILL))
    with pytest.raises(InputError, match="prefill and decode apart; got prefill"):
        simulate(alone, few, catalog=catalog)
    zero = deployment(catalog, "llama-3.1-8b", pool(catalog, replicas=0))
    with pytest.raises(InputError, match="replicas must be at least 1, got 0"):
        simulate(zero, few, catalog=catalog)
    one = deployment(catalog, "llama-3.1-8b", pool(catalog))
    with pytest.raises(InputError, match="options are given for 2 pools, the deployment has 1"):
        simulate(one, few, catalog=catalog, serving=Serving(pools=(PoolOptions(), PoolOptions())))


def test_classes_are_reported_apart(catalog: Catalog, small: Deployment) -> None:
    requests = poisson(300, 20.0, 1000, 100)
    classes = (RequestClass(name="chat", slo=SLO), RequestClass(name="batch", priority=3))
    index = np.arange(300) % 2
    answer = simulate(small, replace(requests, classes=classes, class_index=index), catalog=catalog)
    assert {"good_fraction:chat", "ttft_p99_s:batch", "goodput_requests_per_s"} <= set(answer.metrics)
    assert value(answer, "ttft_s:chat") <= value(answer, "ttft_s:batch")
