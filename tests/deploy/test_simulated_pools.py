"""A pool as the event kernel sees it: blocks, links, tiers, drafting, start-up."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_helpers import deployment, pool

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Infeasible, Pool, Role
from tokenroof.deploy.handoff import handoff_s
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.known import KnownDraft
from tokenroof.deploy.simulated.drafting.model import DraftModel
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.offload import Host, Remote, Ssd
from tokenroof.deploy.simulated.pools import Lengths, PoolOptions, Served, serve_pool
from tokenroof.errors import InputError
from tokenroof.graph.core import Batch, decode_batch
from tokenroof.workload.core import RequestShape

LENGTHS = Lengths(mean_isl_tokens=1000.0, mean_osl_tokens=200.0, longest_tokens=1200)
SHAPE = RequestShape(isl_tokens=1000, osl_tokens=200)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def serve(catalog: Catalog, model: str, asked: Pool, **options: object) -> Served:
    found = serve_pool(asked, deployment(catalog, model, asked), PoolOptions(**options), LENGTHS, catalog)
    assert isinstance(found, Served), found
    return found


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm", "generic"])
@pytest.mark.parametrize(
    ("model", "chip", "ways"),
    [
        ("llama-3.1-8b", "h100", {}),
        ("llama-3.3-70b", "h100", {"tp": 4}),
        ("deepseek-v3", "b200", {"dp": 8, "ep": 8}),
        ("llama-3.3-70b", "mi300x", {"tp": 2, "pp": 2}),
    ],
)
def test_blocks_are_those_of_the_memory_waterfall(
    catalog: Catalog, model: str, chip: str, ways: dict[str, int], engine: str
) -> None:
    asked = pool(catalog, chip, engine, **ways)
    found = catalog.model(model)
    held = capacity(asked, found, found.precision, SHAPE)
    setup = serve(catalog, model, asked).setup
    assert (setup.num_blocks, setup.block_tokens) == (held.kv_blocks, held.block_tokens)
    assert setup.blocks_per_sequence == 0
    rank = asked.parallel.chips // asked.parallel.dp
    assert setup.block_bytes == held.kv_bytes_per_token * held.block_tokens * rank


@pytest.mark.parametrize(("model", "chip", "tp"), [("gemma-3-27b", "h200", 2), ("nemotron-h-56b", "h100", 4)])
def test_windows_and_states_take_fixed_blocks(catalog: Catalog, model: str, chip: str, tp: int) -> None:
    """As many sequences fit as the waterfall says, to the rounding of a state to whole blocks."""
    asked = pool(catalog, chip, tp=tp)
    found = catalog.model(model)
    held = capacity(asked, found, found.precision, SHAPE)
    served = serve(catalog, model, asked)
    assert served.size.blocks_per_sequence > 0
    most = served.setup.num_blocks // served.size.blocks_of(1200)
    assert most == pytest.approx(held.max_batch, rel=0.02)


def test_an_engine_may_be_told_its_blocks(catalog: Catalog) -> None:
    engines = {
        "vllm": {"num_gpu_blocks_override": 100},
        "sglang": {"max_total_tokens": 100},
        "trtllm": {"max_tokens_in_paged_kv_cache": 3200},
    }
    for name, options in engines.items():
        asked = pool(catalog, "h100", name, dp=2)
        settings = engine_options(asked.engine, options)
        assert serve(catalog, "llama-3.1-8b", asked, settings=settings).setup.num_blocks == 200


def test_more_blocks_than_the_memory_holds_do_not_fit(catalog: Catalog) -> None:
    asked = pool(catalog)
    settings = engine_options(asked.engine, {"num_gpu_blocks_override": 10**6})
    found = serve_pool(
        asked, deployment(catalog, "llama-3.1-8b", asked), PoolOptions(settings=settings), LENGTHS, catalog
    )
    assert isinstance(found, Infeasible)
    assert found.reason.startswith("does not fit: 1000000 blocks of 16 tokens")


def test_a_smaller_fraction_of_memory_leaves_fewer_blocks(catalog: Catalog) -> None:
    asked = pool(catalog)
    settings = engine_options(asked.engine, {"gpu_memory_utilization": 0.6})
    fewer = serve(catalog, "llama-3.1-8b", asked, settings=settings).setup.num_blocks
    lost = 0.3 * catalog.chip("h100").memory[0].usable_capacity_bytes.value
    plain = serve(catalog, "llama-3.1-8b", asked).setup
    assert plain.num_blocks - fewer == pytest.approx(lost / plain.block_bytes, abs=1)


@pytest.mark.parametrize(("model", "tp"), [("llama-3.3-70b", 4), ("gemma-3-27b", 2), ("deepseek-v3", 8)])
def test_a_hand_off_takes_what_the_closed_form_says(catalog: Catalog, model: str, tp: int) -> None:
    """Both ends alike; the mean prompt."""
    ends = [pool(catalog, "h200", role=role, tp=tp) for role in (Role.PREFILL, Role.DECODE)]
    found = catalog.model(model)
    link = serve(catalog, model, ends[0]).setup.link
    assert link is not None
    moved = link.bytes_per_token * 1000 + link.bytes_per_sequence
    expected = handoff_s(ends[0], ends[1], found, found.precision, 1000)
    assert link.latency_s + moved / link.bytes_per_s == pytest.approx(expected, rel=1e-9)


def test_tiers_hold_blocks_and_are_as_fast_as_the_catalog_says(catalog: Catalog) -> None:
    places = (Host(size_bytes=256e9), Ssd(size_bytes=2e12), Remote(size_bytes=50e12))
    asked = pool(catalog, tp=4)
    setup = serve(catalog, "llama-3.3-70b", asked, offload=places).setup
    host, ssd, remote = setup.tiers
    assert (host.name, ssd.name, remote.name) == ("host", "ssd", "remote")
    assert host.blocks == int(256e9 // setup.block_bytes)
    assert host.bytes_per_s == 4 * 64e9  # PCIe 5 x16 per chip
    assert ssd.bytes_per_s == 4 * 14e9  # one drive per chip
    assert remote.bytes_per_s == 4 * 50e9  # 400 Gb/s per chip
    assert host.latency_s < remote.latency_s < ssd.latency_s
    assert (host.shared, ssd.shared, remote.shared) == (False, False, True)


def test_a_tier_nobody_knows_the_speed_of_has_to_be_told(catalog: Catalog) -> None:
    asked = pool(catalog, "h200-hbf")
    with pytest.raises(InputError, match="no link of h200-hbf to its host is known"):
        serve(catalog, "llama-3.1-8b", asked, offload=(Host(size_bytes=1e12),))
    told = Host(size_bytes=1e12, bytes_per_s=5e10, latency_s=1e-5)
    assert serve(catalog, "llama-3.1-8b", asked, offload=(told,)).setup.tiers[0].bytes_per_s == 5e10
    with pytest.raises(InputError, match="must be above 0, got 0"):
        Host(size_bytes=0)


def test_start_up_is_loading_and_getting_ready(catalog: Catalog) -> None:
    """16.1 GB of weights at 1 GB/s, then a minute."""
    assert serve(catalog, "llama-3.1-8b", pool(catalog)).setup.start_up_s == pytest.approx(76.1, abs=0.5)
    assert serve(catalog, "llama-3.1-8b", pool(catalog), start_up_s=5.0).setup.start_up_s == 5.0


def test_prompts_share_blocks_unless_layers_are_recurrent(catalog: Catalog) -> None:
    assert serve(catalog, "llama-3.1-8b", pool(catalog)).setup.prefix_caching
    assert not serve(catalog, "nemotron-h-56b", pool(catalog, tp=4)).setup.prefix_caching
    assert serve(catalog, "nemotron-h-56b", pool(catalog, tp=4), prefix_caching=True).setup.prefix_caching
    settings = engine_options(catalog.engine("sglang"), {"disable_radix_cache": True})
    asked = pool(catalog, "h100", "sglang")
    assert not serve(catalog, "llama-3.1-8b", asked, settings=settings).setup.prefix_caching


def decode_s(served: Served, seqs: int) -> float:
    """A step of so many sequences with 1100 cached tokens each."""
    table = served.setup.table
    return float(table.step_s(decode_batch(seqs, 1100, tokens=table.subject.decode_tokens)))


def test_n_grams_cost_no_time_and_no_memory(catalog: Catalog) -> None:
    asked = pool(catalog)
    found = serve(catalog, "llama-3.1-8b", asked, drafting=NGram(draft_tokens=3, acceptance_fraction=0.4))
    assert found.setup.table is found.table
    assert found.setup.num_blocks == serve(catalog, "llama-3.1-8b", asked).setup.num_blocks
    assert found.setup.speculation is not None
    assert found.setup.speculation.tokens_per_step == pytest.approx(1 + 0.4 + 0.16 + 0.064)
    assert found.setup.table.subject.decode_tokens == 4


def test_a_draft_model_costs_its_own_steps_and_its_memory(catalog: Catalog) -> None:
    """Three passes of an 8B model, without its host time."""
    small = catalog.model("llama-3.1-8b")
    drafting = DraftModel(model=small, precision=small.precision, draft_tokens=3, acceptance_fraction=0.7)
    asked = pool(catalog, tp=4)
    with_it = serve(catalog, "llama-3.3-70b", asked, drafting=drafting)
    alone = serve(catalog, "llama-3.1-8b", asked).table
    for seqs in (1, 16, 64):
        passes_s = 3 * (float(alone.step_s(decode_batch(seqs, 1100))) - alone.overhead_s)
        plain_s = float(with_it.table.step_s(decode_batch(seqs, 1100, tokens=4)))
        assert decode_s(with_it, seqs) - plain_s == pytest.approx(passes_s, rel=0.01)
    plain = serve(catalog, "llama-3.3-70b", asked).setup
    assert with_it.setup.num_blocks < 0.7 * plain.num_blocks
    prompt = Batch(prefill_seqs=1, prefill_tokens=512, prefill_pairs=512 * 513 // 2, decode_tokens=4)
    assert with_it.setup.table.step_s(prompt) == with_it.table.step_s(prompt)


@pytest.mark.parametrize("drafting", [Mtp, Eagle])
def test_heads_are_cheaper_than_the_model(catalog: Catalog, drafting: type[Mtp] | type[Eagle]) -> None:
    asked = pool(catalog, "h200", tp=8)
    one, three = (
        serve(catalog, "deepseek-v3", asked, drafting=drafting(draft_tokens=count, acceptance_fraction=0.8))
        for count in (1, 3)
    )
    added = [
        decode_s(each, 16) - float(each.table.step_s(decode_batch(16, 1100, tokens=1 + count)))
        for each, count in ((one, 1), (three, 3))
    ]
    assert added[1] == pytest.approx(3 * added[0], rel=1e-9)
    assert 0.005 * decode_s(one, 16) < added[0] < 0.2 * decode_s(one, 16)
    plain = serve(catalog, "deepseek-v3", asked).setup
    assert 0.8 * plain.num_blocks < one.setup.num_blocks < plain.num_blocks


def test_a_known_draft_adds_its_time_to_every_step_that_decodes(catalog: Catalog) -> None:
    drafting = KnownDraft(draft_tokens=2, acceptance_fraction=0.5, draft_step_s=1e-3)
    found = serve(catalog, "llama-3.1-8b", pool(catalog), drafting=drafting)
    for seqs in (1, 200):
        plain_s = float(found.table.step_s(decode_batch(seqs, 1100, tokens=3)))
        assert decode_s(found, seqs) - plain_s == pytest.approx(1e-3)


def test_drafting_does_not_touch_a_prefill_pool(catalog: Catalog) -> None:
    asked = pool(catalog, tp=4, role=Role.PREFILL)
    setup = serve(
        catalog, "llama-3.3-70b", asked, drafting=NGram(draft_tokens=3, acceptance_fraction=0.4)
    ).setup
    assert setup.speculation is None
    assert setup.table.subject.decode_tokens == 1


@pytest.mark.parametrize(
    ("tokens", "acceptance", "said"),
    [(0, 0.5, "draft_tokens must be at least 1"), (2, 1.5, "must lie in 0..1, got 1.5")],
)
def test_impossible_drafts_are_refused(tokens: int, acceptance: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        NGram(draft_tokens=tokens, acceptance_fraction=acceptance)


def test_a_model_without_layers_for_it_cannot_predict_several_tokens(catalog: Catalog) -> None:
    with pytest.raises(InputError, match=r"llama-3\.1-8b has no layers for multi-token prediction"):
        serve(catalog, "llama-3.1-8b", pool(catalog), drafting=Mtp(draft_tokens=1, acceptance_fraction=0.8))


def test_a_recurrent_model_has_one_block_per_sequence(catalog: Catalog) -> None:
    """Without any growing layer."""
    base = catalog.model("nemotron-h-56b")
    kept = tuple(
        group for group in base.layers if not any(type(m).__name__ == "Attention" for m in group.mixers)
    )
    model = replace(base, layers=kept)
    asked = pool(catalog, tp=4)
    target = replace(deployment(catalog, "nemotron-h-56b", asked), model=model)
    found = serve_pool(asked, target, PoolOptions(), LENGTHS, catalog)
    assert isinstance(found, Served)
    held = capacity(asked, model, model.precision, SHAPE)
    assert found.setup.num_blocks == held.max_batch
    assert found.size.blocks_of(1200) == 1
    assert np.isfinite(decode_s(found, 8))
