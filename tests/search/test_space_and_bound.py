"""What is tried, what physics allows, and how a load is read."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from planning import CATALOG, TPOT, TTFT, question, slower, traffic

from tokenroof.catalog.core import OperandKind
from tokenroof.deploy.capacity import tier_of
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.graph.core import Parallel
from tokenroof.search.accounting import racks_of, spent, total
from tokenroof.search.asked import Limits, Space
from tokenroof.search.bound import bound_of, least_chips, lower_bounds
from tokenroof.search.core import Record
from tokenroof.search.demand import faster, load_of, shape_of, shared_fraction
from tokenroof.search.judge import GOOD, LOST, QUEUE, missed, short_pool, shortfall
from tokenroof.search.space import Engines, format_problem, layouts, subjects
from tokenroof.search.survey import chip_costs
from tokenroof.workload.arrivals import Poisson
from tokenroof.workload.identities import SharedPrompt
from tokenroof.workload.lengths import Fixed
from tokenroof.workload.pairs import Independent
from tokenroof.workload.synthetic import OpenLoop, Traffic

DENSE, EXPERTS = CATALOG.model("llama-3.3-70b"), CATALOG.model("deepseek-v3")
H100 = CATALOG.chip("h100")


def test_dense_layouts_are_powers_of_two_inside_the_domain() -> None:
    found = layouts(DENSE, H100, Space())
    assert Parallel(tp=8, pp=2) in found
    assert all(each.tp <= 8 and each.chips <= 64 and each.ep == each.dp == 1 for each in found)
    assert max(each.chips for each in layouts(DENSE, H100, Space(most_chips_per_replica=4))) == 4


def test_routed_experts_get_expert_and_data_parallel_layouts() -> None:
    found = layouts(EXPERTS, H100, Space())
    assert Parallel(dp=8, ep=8) in found
    assert Parallel(tp=8, ep=8) in found
    assert Parallel(tp=2, dp=16, ep=32) in found
    assert len(set(found)) == len(found)


def test_a_chip_without_a_peak_is_not_tried_with_a_format_of_others() -> None:
    fp8 = replace(DENSE.precision, weights="fp8", experts="fp8", activations="fp8")
    assert format_problem(H100, fp8, DENSE) is None
    assert format_problem(CATALOG.chip("a100"), fp8, DENSE) is not None
    assert format_problem(CATALOG.chip("a100"), EXPERTS.precision, EXPERTS) is None, "its own runs anywhere"
    narrow = {
        name: replace(DENSE.precision, weights=name, experts=name, activations=name)
        for name in ("nvfp4", "mxfp4")
    }
    for chip, wanted in (("h100", ()), ("mi355x", ("mxfp4",)), ("b200", ("nvfp4", "mxfp4"))):
        tried = [name for name, each in narrow.items() if not format_problem(CATALOG.chip(chip), each, DENSE)]
        assert tuple(tried) == wanted, chip
    nvfp4 = replace(DENSE.precision, kv="nvfp4")
    assert format_problem(H100, nvfp4, DENSE) is not None
    assert format_problem(CATALOG.chip("b200"), nvfp4, DENSE) is None


def test_what_is_not_legal_is_turned_away_with_its_rule() -> None:
    space = Space(engines=(CATALOG.engine("vllm"),), parallels=(Parallel(tp=3), Parallel(tp=4)))
    legal, turned = subjects(question(space=space, model="llama-3.3-70b"))
    assert [each.parallel.tp for each in legal] == [4]
    assert [each.reason for each in turned] == ["layout"]


def test_the_same_limits_give_the_same_engine() -> None:
    engines = Engines((CATALOG.engine("vllm"),))
    own = engines.own("vllm")
    assert engines.limited("vllm", own.max_num_seqs, own.max_num_batched_tokens) is own
    other = engines.limited("vllm", 32, 4096)
    assert other is engines.limited("vllm", 32, 4096)
    assert (other.max_num_seqs, other.max_num_batched_tokens) == (32, 4096)


def test_the_bound_of_compute_is_two_flop_a_weight_and_token() -> None:
    asked = question("h100", workload=traffic(500.0, isl=1000, osl=1), targets=())
    requests = asked.workload.requests(0)
    load = load_of(requests)
    (bound,) = lower_bounds(asked, load, shape_of(requests))
    # 8.03 billion parameters less the input table (128,256 x 4096); the head computes one token of 1000
    weights = 8.03e9 - 2 * 128_256 * 4096
    peak = H100.peak_flop_per_s["bf16"].value
    assert bound.binding == "compute"
    assert bound.compute_chips == pytest.approx(load.requests_per_s * 1000 * 2 * weights / peak, rel=0.05)
    assert bound.chips == math.ceil(bound.compute_chips)


def test_the_bound_of_memory_is_the_weights() -> None:
    asked = question("h100", model="llama-3.1-405b", workload=traffic(0.1, osl=2), targets=())
    requests = asked.workload.requests(0)
    (bound,) = lower_bounds(asked, load_of(requests), shape_of(requests))
    tier = tier_of(H100, OperandKind.WEIGHTS)
    assert bound.binding == "memory"
    assert bound.memory_chips == pytest.approx(811.7e9 / tier.usable_capacity_bytes.value, rel=0.01)


def test_a_tight_time_per_token_is_a_bound_on_bandwidth() -> None:
    chips = []
    for factor in (1.0, 0.1, 0.02):
        asked = question("h100", rate=0.5, targets=(TTFT, slower(TPOT, factor)))
        requests = asked.workload.requests(0)
        (bound,) = lower_bounds(asked, load_of(requests), shape_of(requests))
        chips.append(bound.bandwidth_chips)
    assert chips == sorted(chips)
    bytes_per_s = tier_of(H100, OperandKind.WEIGHTS).bandwidth_bytes_per_s.value
    assert chips[-1] == pytest.approx(16.06e9 / bytes_per_s / (0.02 * TPOT.limit_s), rel=0.1)


def test_sparse_attention_is_bound_by_what_it_reads_not_by_what_it_keeps() -> None:
    model = CATALOG.model("deepseek-v3.2")
    asked = question("h200", model=model.name, workload=traffic(2.0, isl=65_000, osl=200), targets=())
    requests = asked.workload.requests(0)
    load = load_of(requests)
    (bound,) = lower_bounds(asked, load, shape_of(requests))
    # of a latent cache (61 layers of 576 elements) 2048 tokens; of index keys (132 bytes a layer) all
    read = 61 * (2048 * 576 * 2 + 65_100 * 132)
    bytes_per_s = tier_of(CATALOG.chip("h200"), OperandKind.KV).bandwidth_bytes_per_s.value
    assert bound.bandwidth_chips == pytest.approx(load.requests_per_s * 199 * read / bytes_per_s, rel=0.1)


def test_with_drafts_one_read_of_the_cache_may_yield_several_tokens() -> None:
    asked = question("h100", workload=traffic(5.0, isl=4000, osl=500), targets=())
    requests = asked.workload.requests(0)
    load, shape = load_of(requests), shape_of(requests)
    drafting = NGram(draft_tokens=3, acceptance_fraction=0.5)
    (plain,) = lower_bounds(asked, load, shape)
    drafted = replace(asked, space=replace(asked.space, drafting=(None, drafting)))
    (bound,) = lower_bounds(drafted, load, shape)
    assert bound.bandwidth_chips == pytest.approx(plain.bandwidth_chips / 4)
    assert bound.compute_chips == plain.compute_chips


def test_two_kinds_of_chips_together_may_be_fewer_than_either_alone() -> None:
    precision = DENSE.precision
    computes = bound_of("a", precision, 0.5, 10.0, 100.0)
    reads = bound_of("b", precision, 0.5, 100.0, 10.0)
    assert (computes.chips, reads.chips) == (100, 100)
    # 10 of each do all of the arithmetic and all of the reading
    assert least_chips((computes, reads), ["a", "b"]) == 10
    assert least_chips((computes, reads), ["a"]) == 100


def test_pools_of_one_kind_share_a_node_and_a_rack() -> None:
    asked = question("h100", "gb200-nvl72")
    costs, load, limits = chip_costs(asked, CATALOG), load_of(asked.workload.requests(0)), Limits()

    def whole(*pools: tuple[str, int]) -> tuple[float, float, float]:
        kinds = [costs[name] for name, _ in pools]
        parts = [
            spent(cost, np.asarray(float(count)), np.zeros(()), load, limits)
            for cost, (_, count) in zip(kinds, pools, strict=True)
        ]
        found = total(parts, kinds, limits)
        return float(found.chips), float(found.nodes), float(found.racks)

    assert whole(("h100", 4), ("h100", 4)) == (8, 1, 1)
    assert whole(("h100", 8), ("h100", 4)) == (12, 2, 1)
    assert whole(("gb200-nvl72", 40), ("gb200-nvl72", 40)) == (80, 2, 2)
    assert whole(("h100", 4), ("gb200-nvl72", 4)) == (8, 2, 2)


def test_a_faster_load_is_the_same_requests_sooner() -> None:
    requests = traffic(10.0).requests(3)
    quick = faster(requests, 1.5)
    assert load_of(quick).requests_per_s == pytest.approx(1.5 * load_of(requests).requests_per_s)
    assert np.array_equal(quick.isl_tokens, requests.isl_tokens)
    assert faster(requests, 1.0) is requests


def test_the_shared_part_of_prompts_is_what_was_sent_before() -> None:
    shared = SharedPrompt(tokens=800)
    mix = (Traffic(lengths=Independent(isl=Fixed(tokens=200), osl=Fixed(tokens=20)), shared=shared),)
    whole = OpenLoop(arrivals=Poisson(rate_per_s=5.0), mix=mix, num_requests=101, block_tokens=16)
    requests = whole.requests(0)
    assert shared_fraction(requests) == pytest.approx(0.8 * 100 / 101, rel=0.02)
    assert shared_fraction(traffic(5.0).requests(0)) == 0.0


def test_boards_share_a_rack_by_power_and_racks_stand_alone() -> None:
    asked = question("h100", "gb200-nvl72")
    costs = chip_costs(asked, CATALOG)
    limits = Limits(rack_w=40e3)
    # eight 700 W boards with their server are 9.0 kW; what cools the building is not in the rack
    board_w = 8 * 700.0 * costs["h100"].basis.server_overhead_factor
    per_rack = int(40e3 // board_w)
    assert per_rack == 4
    assert racks_of(costs["h100"], np.array(8.0 * per_rack), limits) == 1.0
    assert racks_of(costs["h100"], np.array(8.0 * per_rack + 1), limits) == 2.0
    assert racks_of(costs["gb200-nvl72"], np.array(72.0), limits) == 1.0
    assert racks_of(costs["gb200-nvl72"], np.array(73.0), limits) == 2.0


def record(**values: float) -> Record:
    return Record(key="", label="", replicas=(1,), seed=0, rate_factor=1.0, values=values, low={}, high={})


def test_what_is_missed_is_said_the_worst_first() -> None:
    asked = question()
    assert missed(asked, record(ttft_s=0.1, ttft_p99_s=0.9, tpot_p95_s=0.02)) == ""
    both = record(ttft_s=1.0, ttft_p99_s=1.5, tpot_p95_s=0.09)
    assert missed(asked, both).startswith("tpot_p95_s is 0.09 s")
    assert missed(asked, record(ttft_p99_s=0.9)) != "", "no value keeps nothing"
    good = {"ttft_s": 0.1, "ttft_p99_s": 0.9, "tpot_p95_s": 0.02}
    assert "lost" in missed(asked, record(**good, rejected_requests=2))
    assert "queue" in missed(asked, record(**good, queue_growth_requests_per_s=0.5))
    fussy = replace(asked, limits=Limits(good_fraction=0.99))
    assert "good" in missed(fussy, record(**good, good_fraction=0.9))
    assert missed(fussy, record(**good, good_fraction=0.995)) == ""
    assert shortfall(asked, both)[0] == "tpot_p95_s"
    assert shortfall(asked, record(**good, rejected_requests=2))[0] == LOST
    assert shortfall(asked, record(**good, queue_growth_requests_per_s=0.5))[0] == QUEUE
    assert shortfall(fussy, record(**good, good_fraction=0.9))[0] == GOOD


def test_one_pool_is_always_the_short_one() -> None:
    asked = question()
    legal, _ = subjects(asked)
    from exhaustive import candidates

    assert legal
    assert short_pool(asked, next(candidates(asked)), record(ttft_p99_s=9.0)) == 0
