"""Who is on the way between a client and the engine: Little's law, its limits, and the two roads."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_helpers import deployment, equal_requests, pool, spread_requests, value

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.tuning import NEUTRAL, Parameter, Tuning
from tokenroof.deploy.closed_loop import mix, serve_clients
from tokenroof.deploy.colocated import Served, serve
from tokenroof.deploy.core import Deployment, Role
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.generation import plan_of
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.serve.metrics import measure
from tokenroof.serve.spans import Window
from tokenroof.workload.core import RequestShape

CATALOG = load().tuned(NEUTRAL)
SHAPE = RequestShape(isl_tokens=1000, osl_tokens=200)
MODELS = (("gpt-oss-120b", "b200"), ("deepseek-v3", "b200"))
"""The rate of these rises with every further request up to 64: no kink of tiles or of whole prompts."""


def away(client_s: float, per_token_s: float = 0.0) -> Catalog:
    """A catalog whose clients are so far away, and nothing else is tuned."""
    far = Parameter(name="client_s", scope="all", value=client_s)
    long = Parameter(name="client_prompt_token_s", scope="all", value=per_token_s)
    return CATALOG.tuned(Tuning(parameters=(far, long)))


def asked(catalog: Catalog, model: str = "llama-3.1-8b", chip: str = "h100", **ways: int) -> Deployment:
    return deployment(catalog, model, pool(catalog, chip, **ways))


def apart(catalog: Catalog, engine: str = "vllm") -> Deployment:
    ends = [pool(catalog, engine=engine, tp=4, role=role) for role in (Role.PREFILL, Role.DECODE)]
    return deployment(catalog, "llama-3.3-70b", *ends)


def replica(client_s: float, model: str, chip: str, clients: int) -> Served:
    ways = {"dp": 8, "ep": 8} if model == "deepseek-v3" else {}
    found = asked(away(client_s), model, chip, **ways)
    return serve_clients(found.pools[0], found, SHAPE, plan_of(found.model, SHAPE), clients)


@cache
def full(model: str, chip: str, count: int) -> Served:
    """What the engine does that always holds so many."""
    ways = {"dp": 8, "ep": 8} if model == "deepseek-v3" else {}
    found = asked(CATALOG, model, chip, **ways)
    return serve(found.pools[0], found, SHAPE, plan_of(found.model, SHAPE), count)


def test_a_mix_by_hand() -> None:
    """10 clients, 2 s away: 6 in the engine leave at 1/s and 7 at 1.5/s. 6 + 2 < 10 == 7 + 3: always 7."""
    assert mix(10, 2.0, 6, 1.0, 1.5).more_time_fraction == pytest.approx(1.0)
    half = mix(9, 2.0, 6, 1.0, 1.5)  # 6 + 2 = 8, 7 + 3 = 10: half of the time each
    assert half.more_time_fraction == pytest.approx(0.5)
    assert half.requests_per_s == pytest.approx(1.25)
    assert half.more_requests_fraction == pytest.approx(0.75 / 1.25)


@given(st.sampled_from(MODELS), st.integers(1, 64), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_littles_law_and_never_faster(
    on: tuple[str, str], clients: int, one_s: float, other_s: float
) -> None:
    near_s, far_s = sorted((one_s, other_s))
    near, far = replica(near_s, *on, clients), replica(far_s, *on, clients)
    for each, away_s in ((near, near_s), (far, far_s)):
        assert each.requests_per_s * (away_s + each.e2e_s) == pytest.approx(clients, rel=1e-9)
        after_first_s = (SHAPE.osl_tokens - 1) * each.tpot_s
        assert each.waiting_s + each.ttft_s + after_first_s == pytest.approx(each.e2e_s, rel=1e-9)
    assert (
        far.requests_per_s
        <= near.requests_per_s * (1 + 1e-9)
        <= full(*on, clients).requests_per_s * (1 + 2e-9)
    )


@given(st.integers(1, 64), st.floats(0.0, 0.5))
def test_with_kinks_no_faster_than_some_smaller_batch(clients: int, away_s: float) -> None:
    """A prompt or a tile of rows less may make 57 sequences faster than 58: then a delay may, too."""
    on = ("llama-3.1-8b", "h100")
    best = max(full(*on, count).requests_per_s for count in range(1, clients + 1))
    assert replica(away_s, *on, clients).requests_per_s <= best * (1 + 1e-9)


@pytest.mark.parametrize("on", [*MODELS, ("llama-3.1-8b", "h100")])
@pytest.mark.parametrize("clients", [1, 2, 58, 64])
def test_near_clients_are_none(on: tuple[str, str], clients: int) -> None:
    near = replica(1e-9, *on, clients)
    for name in ("requests_per_s", "ttft_s", "waiting_s", "tpot_s", "e2e_s", "prefill_s", "decode_step_s"):
        assert getattr(near, name) == pytest.approx(getattr(full(*on, clients), name), rel=1e-6), name
    assert float(near.step.energy_j) == pytest.approx(float(full(*on, clients).step.energy_j), rel=1e-6)


def test_far_clients_meet_an_empty_engine() -> None:
    far = replica(0.5, "gpt-oss-120b", "b200", 1)
    alone = full("gpt-oss-120b", "b200", 1)
    assert (far.tpot_s, far.ttft_s, far.e2e_s) == (alone.tpot_s, alone.ttft_s, alone.e2e_s)
    assert far.requests_per_s == pytest.approx(1 / (0.5 + alone.e2e_s))


def test_a_queue_for_prefill_hides_the_client() -> None:
    """Every step is full whether a request waits at the engine or is on its way: the rate stays."""
    shape = RequestShape(isl_tokens=6000, osl_tokens=20)
    near, far = (
        estimate(asked(catalog, "llama-3.3-70b", tp=8), shape, catalog=catalog, concurrency=64)
        for catalog in (CATALOG, away(0.05))
    )
    assert value(far, "requests_per_s") == pytest.approx(value(near, "requests_per_s"), rel=5e-3)
    assert 0.0 < value(far, "waiting_s") < value(near, "waiting_s")
    assert value(far, "requests_per_s") * value(far, "e2e_s") == pytest.approx(64)


@pytest.mark.parametrize("pools", ["one", "two"])
def test_one_client_is_the_same_on_both_roads(pools: str) -> None:
    catalog = away(0.1, 2e-5)
    found = asked(catalog, tp=2) if pools == "one" else apart(catalog)
    simulated = simulate(found, equal_requests(40, 2000, 100, 1), catalog=catalog)
    shape = RequestShape(isl_tokens=2000, osl_tokens=100)
    closed = estimate(found, shape, catalog=catalog, concurrency=1)
    for name in ("ttft_s", "tpot_s", "e2e_s", "requests_per_s", "output_tokens_per_s_per_chip"):
        assert value(simulated, name) == pytest.approx(value(closed, name), rel=1e-3), name


@pytest.mark.parametrize("away_s", [0.05, 0.5])
@pytest.mark.parametrize(("pools", "osl", "clients"), [("one", 200, 48), ("two", 300, 40)])
def test_a_full_loop_is_the_same_on_both_roads(pools: str, osl: int, clients: int, away_s: float) -> None:
    """As without clients: lengths that dissolve waves, no graphs, within 2 %; 0.5 s is a sixth of a cycle."""
    catalog = away(away_s)
    found = asked(catalog) if pools == "one" else apart(catalog)
    eager = PoolOptions(settings=engine_options(catalog.engine("vllm"), {"enforce_eager": True}))
    requests = spread_requests(14 * clients, 1000, osl, clients)
    simulated = simulate(found, requests, catalog=catalog, serving=Serving(pools=(eager,) * len(found.pools)))
    assert simulated.run is not None
    last_s = float(simulated.run.log.arrival_s.max())
    steady = measure(simulated.run, Window(skip_first=3 * clients, to_s=last_s))
    shape = RequestShape(isl_tokens=1000, osl_tokens=osl)
    closed = estimate(found, shape, catalog=catalog, concurrency=clients)
    assert value(closed, "requests_per_s") * value(closed, "e2e_s") == pytest.approx(clients)
    expected = value(closed, "output_tokens_per_s")
    assert steady.window.output_tokens_per_s == pytest.approx(expected, rel=0.02)


@given(st.integers(1, 64), st.floats(0.0, 0.5))
def test_apart_obeys_littles_law_too(clients: int, away_s: float) -> None:
    catalog = away(away_s)
    closed = estimate(apart(catalog), SHAPE, catalog=catalog, concurrency=clients)
    assert value(closed, "requests_per_s") * value(closed, "e2e_s") == pytest.approx(clients)
    found_s = value(closed, "prefill_s") + value(closed, "kv_transfer_s")
    assert value(closed, "ttft_s") == pytest.approx(away_s + found_s)
