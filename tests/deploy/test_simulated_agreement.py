"""Two roads, one answer: the simulation against the closed form."""

import numpy as np
import pytest
from simulated_helpers import deployment, equal_requests, pool, spread_requests, value

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.core import Deployment, Estimate, Role
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.metrics import GLOSSARY
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.deploy.simulated.terms import TERMS
from tokenroof.graph.core import Batch, causal_pairs
from tokenroof.serve.metrics import measure
from tokenroof.serve.spans import Window
from tokenroof.workload.core import Requests, RequestShape


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


CASES = {
    "dense": ("llama-3.1-8b", "h100", {}),
    "tensor parallel": ("llama-3.3-70b", "mi300x", {"tp": 2}),
    "pipeline": ("llama-3.3-70b", "h100", {"tp": 2, "pp": 2}),
    "experts": ("gpt-oss-120b", "b200", {}),
    "latent attention": ("deepseek-v3", "h200", {"tp": 8}),
    "wide experts": ("deepseek-v3", "b200", {"dp": 8, "ep": 8}),
    "window": ("gemma-3-27b", "h200", {"tp": 2}),
    "state space": ("nemotron-h-56b", "h100", {"tp": 4}),
    "other engine": ("qwen3-30b-a3b", "h100", {"engine": "sglang"}),
}
ALONE = ("ttft_s", "tpot_s", "e2e_s", "requests_per_s", "output_tokens_per_s_per_chip")
SPENT = (
    "energy_j_per_output_token",
    "energy_j_per_token",
    "power_w_per_chip",
    "usd_per_hour",
    "usd_per_mtok_output",
    "usd_per_mtok_total",
    "gco2e_per_mtok_operational",
    "gco2e_per_mtok_embodied",
)


def both(
    catalog: Catalog, asked: Deployment, requests: Requests, serving: Serving | None = None
) -> tuple[Estimate, Estimate]:
    """The simulation, and the closed form of the mean request at the same concurrency."""
    shape = RequestShape(
        isl_tokens=round(float(requests.isl_tokens.mean())),
        osl_tokens=round(float(requests.osl_tokens.mean())),
    )
    simulated = simulate(asked, requests, catalog=catalog, serving=serving)
    closed = estimate(asked, shape, catalog=catalog, concurrency=requests.concurrency)
    assert simulated.feasible, simulated.infeasible
    return simulated, closed


@pytest.mark.parametrize("case", CASES)
def test_one_request_at_a_time_is_the_closed_form(catalog: Catalog, case: str) -> None:
    """Times within 0.1 %; money, energy and carbon within 2 %.

    Of several data parallel ranks one computes the prompt: a run counts the others as busy in that step,
    the closed form does not. The rest agrees far better.
    """
    model, chip, ways = CASES[case]
    asked = deployment(catalog, model, pool(catalog, chip, **ways))
    simulated, closed = both(catalog, asked, equal_requests(4, 2000, 300, 1))
    for name in ALONE:
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=1e-3), name
    for name in SPENT:
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=2e-2), name
    assert simulated.shape == closed.shape
    assert simulated.capacity == closed.capacity
    assert simulated.evidence == closed.evidence


def test_long_prompts_take_their_chunks(catalog: Catalog) -> None:
    asked = deployment(catalog, "llama-3.1-8b", pool(catalog))
    simulated, closed = both(catalog, asked, equal_requests(2, 30000, 10, 1))
    for name in ALONE:
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=0.01), name


@pytest.mark.parametrize(
    ("model", "prefill", "decode"),
    [
        ("llama-3.3-70b", ("h100", {"tp": 4}), ("h100", {"tp": 4})),
        ("llama-3.3-70b", ("h200", {"tp": 2}), ("mi300x", {"tp": 4})),
        ("deepseek-v3", ("b200", {"tp": 8}), ("b200", {"dp": 8, "ep": 8})),
    ],
)
def test_pools_apart_agree_too(
    catalog: Catalog,
    model: str,
    prefill: tuple[str, dict[str, int]],
    decode: tuple[str, dict[str, int]],
) -> None:
    ends = [
        pool(catalog, chip, role=role, **ways)
        for (chip, ways), role in ((prefill, Role.PREFILL), (decode, Role.DECODE))
    ]
    simulated, closed = both(catalog, deployment(catalog, model, *ends), equal_requests(4, 2000, 300, 1))
    for name in (*ALONE, *SPENT):
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=5e-3), name
    assert value(simulated, "transfer_s") == pytest.approx(value(closed, "kv_transfer_s"), rel=5e-3)
    assert 0.0 < value(simulated, "link_fraction:prefill") < 0.1


SATURATED = {
    "dense": ("llama-3.1-8b", "h100", {}, 1000, 200, 64),
    "long answers": ("llama-3.1-8b", "h100", {}, 256, 512, 128),
    "latent attention": ("deepseek-v3", "h200", {"tp": 8}, 1000, 200, 64),
    "window": ("gemma-3-27b", "h200", {"tp": 2}, 2000, 100, 48),
    "two stages": ("llama-3.3-70b", "h100", {"tp": 2, "pp": 2}, 1000, 200, 64),
}


@pytest.mark.parametrize("case", SATURATED)
def test_a_full_closed_loop_yields_the_steady_state(catalog: Catalog, case: str) -> None:
    """Output tokens per second between the first waves and the last request sent, within 2 %.

    The closed form takes one length and a steady mix of steps; lengths from half to one and a half times
    the mean dissolve the waves of equal requests. Tokens are compared, not requests: which requests end
    within a window is a matter of chance, which tokens come out in it hardly is. Graphs, which the closed
    form does not pad, are off.
    """
    model, chip, ways, isl, osl, concurrency = SATURATED[case]
    requests = spread_requests(20 * concurrency, isl, osl, concurrency)
    asked = deployment(catalog, model, pool(catalog, chip, **ways))
    settings = engine_options(catalog.engine("vllm"), {"enforce_eager": True})
    simulated, closed = both(catalog, asked, requests, Serving(pools=(PoolOptions(settings=settings),)))
    assert simulated.run is not None
    last_s = float(simulated.run.log.arrival_s.max())
    steady = measure(simulated.run, Window(skip_first=3 * concurrency, to_s=last_s))
    expected = value(closed, "output_tokens_per_s")
    assert steady.window.output_tokens_per_s == pytest.approx(expected, rel=0.02)
    # Whole run, ramps included: power and price of idle places are borne by fewer tokens, and a step with
    # few sequences draws nearly as much as a full one.
    assert value(simulated, "energy_j_per_output_token") == pytest.approx(
        value(closed, "energy_j_per_output_token"), rel=0.05
    )
    assert value(simulated, "usd_per_mtok_total") == pytest.approx(
        value(closed, "usd_per_mtok_total"), rel=0.10
    )


@pytest.mark.parametrize(("isl", "osl", "concurrency"), [(1000, 200, 256), (256, 512, 512)])
def test_wide_experts_with_prompts_by_chance(catalog: Catalog, isl: int, osl: int, concurrency: int) -> None:
    """Ranks wait for those that prefill: a step costs far more with one prompt than with none, and little
    more with two. The steady state is then one of steps with a Poisson number of prompts, as answers of
    unlike lengths end; the closed form spreads prompts evenly over steps and is off by 6 to 13 % here.
    """
    asked = deployment(catalog, "deepseek-v3", pool(catalog, "b200", dp=8, ep=8))
    eager = PoolOptions(settings=engine_options(catalog.engine("vllm"), {"enforce_eager": True}))
    requests = spread_requests(14 * concurrency, isl, osl, concurrency)
    simulated = simulate(asked, requests, catalog=catalog, serving=Serving(pools=(eager,)))
    assert simulated.run is not None
    rate = concurrency / osl
    prompts = np.arange(round(rate + 12.0 * rate**0.5) + 2, dtype=np.int64)
    chance = np.cumprod(np.concatenate(([np.exp(-rate)], rate / prompts[1:])))
    lengths = np.arange(osl // 2, 3 * osl // 2 + 1)
    context = isl + float(np.sum(lengths * (lengths - 1) / 2) / np.sum(lengths))
    step_s = simulated.run.setup.pools[0].table.evaluate(
        Batch(
            decode_seqs=concurrency - prompts,
            decode_context_tokens=np.rint((concurrency - prompts) * context).astype(np.int64),
            prefill_seqs=prompts,
            prefill_tokens=prompts * isl,
            prefill_pairs=prompts * int(causal_pairs(isl)),
            prefill_logits=prompts,
        )
    )
    expected = concurrency / float(chance @ step_s.time_s)
    last_s = float(simulated.run.log.arrival_s.max())
    steady = measure(simulated.run, Window(skip_first=3 * concurrency, to_s=last_s))
    assert steady.window.output_tokens_per_s == pytest.approx(expected, rel=0.02)


def test_apart_at_saturation(catalog: Catalog) -> None:
    ends = [pool(catalog, tp=4, role=role) for role in (Role.PREFILL, Role.DECODE)]
    requests = spread_requests(600, 1000, 300, 40)
    eager = PoolOptions(settings=engine_options(catalog.engine("vllm"), {"enforce_eager": True}))
    simulated, closed = both(
        catalog, deployment(catalog, "llama-3.3-70b", *ends), requests, Serving(pools=(eager, eager))
    )
    assert simulated.run is not None
    last_s = float(simulated.run.log.arrival_s.max())
    steady = measure(simulated.run, Window(skip_first=120, to_s=last_s))
    expected = value(closed, "output_tokens_per_s")
    assert steady.window.output_tokens_per_s == pytest.approx(expected, rel=0.02)


def test_every_metric_has_its_definition_and_adds_up(catalog: Catalog) -> None:
    asked = deployment(catalog, "llama-3.1-8b", pool(catalog, replicas=2))
    answer = simulate(asked, spread_requests(300, 1000, 100, 32), catalog=catalog)
    for name, metric in answer.metrics.items():
        base = name.partition(":")[0]
        assert (metric.unit, metric.definition) == (TERMS[base] if base in TERMS else GLOSSARY[base]), name
        assert np.isfinite(metric.value), name
    found = {name: metric.value for name, metric in answer.metrics.items()}
    for name in ("ttft", "tpot", "e2e", "queue", "itl"):
        quantiles = [found[f"{name}_{quantile}_s"] for quantile in ("p50", "p90", "p95", "p99")]
        assert quantiles == sorted(quantiles)
    limits = [found[name] for name in found if name.startswith("limit_fraction:")]
    assert sum(limits) == pytest.approx(1.0)
    assert found["limit_fraction:host"] > 0.0
    per_token = found["usd_per_mtok_input"] * 1000 + found["usd_per_mtok_output"] * 100
    assert per_token / 1100 == pytest.approx(found["usd_per_mtok_total"], rel=0.02)
    assert found["run_usd"] == pytest.approx(found["usd_per_hour"] * found["run_s"] / 3600)
    assert found["run_energy_j"] == pytest.approx(found["power_w_per_chip"] * 2 * found["run_s"], rel=1e-6)
    assert found["completed_requests"] == found["requests"] == 300
    assert 0.0 < found["memory_fraction:hbm"] < 1.0
    assert set(answer.phases) == {"prefill", "decode"}
    assert answer.phases["decode"].time_s > 0.0
    assert answer.sources
    assert all(":" in line or "handed over" in line for line in answer.assumptions)


def test_speculation_yields_the_tokens_it_should(catalog: Catalog) -> None:
    """One at a time: a step of k + 1 tokens yields 1 + a + a^2 + ... of them."""
    from tokenroof.deploy.simulated.drafting.model import DraftModel

    small = catalog.model("llama-3.1-8b")
    drafting = DraftModel(model=small, precision=small.precision, draft_tokens=3, acceptance_fraction=0.7)
    asked = deployment(catalog, "llama-3.3-70b", pool(catalog, tp=4))
    serving = Serving(pools=(PoolOptions(drafting=drafting),))
    answer = simulate(asked, equal_requests(20, 1000, 1000, 1), catalog=catalog, serving=serving)
    assert answer.run is not None
    table = answer.run.setup.pools[0].table
    from tokenroof.graph.core import decode_batch

    step_s = float(table.step_s(decode_batch(1, 1500, tokens=4)))
    tokens = 1 + 0.7 + 0.7**2 + 0.7**3
    assert value(answer, "tpot_s") == pytest.approx(step_s / tokens, rel=0.02)
    limits = [m.value for name, m in answer.metrics.items() if name.startswith("limit_fraction:")]
    assert sum(limits) == pytest.approx(1.0)
    assert value(answer, "limit_fraction:host") < 0.05
    plain = simulate(asked, equal_requests(3, 1000, 1000, 1), catalog=catalog)
    assert value(answer, "tpot_s") < 0.75 * value(plain, "tpot_s")


def test_the_same_seed_gives_the_same_bytes(catalog: Catalog) -> None:
    asked = deployment(catalog, "llama-3.1-8b", pool(catalog, replicas=2))
    requests = spread_requests(200, 500, 100, 32)
    first, second = (simulate(asked, requests, catalog=catalog, seed=7) for _ in range(2))
    assert first.metrics == second.metrics
    assert first.run is not None
    assert second.run is not None
    for name in ("first_s", "finish_s", "state"):
        assert np.array_equal(getattr(first.run.log, name), getattr(second.run.log, name))
