"""What one chip holds: weights add up to the model, caches to the published bytes per token."""

import pytest
from graph_helpers import WIDE, model

from tokenroof.catalog.counting import kv_bytes_per_token, total_parameters
from tokenroof.catalog.model import Precision
from tokenroof.graph.core import Parallel
from tokenroof.graph.memory import (
    activation_bytes_per_chip,
    fixed_bytes_per_sequence_per_chip,
    kv_bytes_per_token_per_chip,
    weight_bytes_per_chip,
)


def weights(name: str, precision: Precision = WIDE, **parallel: int) -> dict[str, int]:
    return weight_bytes_per_chip(model(name), precision, Parallel(**parallel))


def test_llama_on_one_chip():
    found = weights("llama-3.3-70b")
    assert sum(found.values()) == 2 * 70_553_706_496
    assert found["embedding"] == 2 * 2 * 128_256 * 8192
    assert found["dense"] == 80 * 2 * 3 * 8192 * 28672
    assert found["experts"] == found["vision"] == found["mtp"] == 0


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallel_shards_add_up(tp):
    whole, shard = weights("llama-3.3-70b"), weights("llama-3.3-70b", tp=tp)
    for role in ("attention", "dense", "embedding"):
        assert tp * shard[role] == whole[role]
    assert shard["other"] == whole["other"]  # norms are on every rank


def test_surplus_key_value_heads_are_counted_where_they_are():
    shard = weights("llama-3.3-70b", tp=16)["attention"]
    assert 16 * shard - weights("llama-3.3-70b")["attention"] == 80 * 2 * 8192 * 8 * 2 * 128


@pytest.mark.parametrize("pp", [2, 4, 5])
def test_pipeline_stages_add_up(pp):
    whole, stage = weights("llama-3.3-70b"), weights("llama-3.3-70b", pp=pp)
    for role in ("attention", "dense"):
        assert pp * stage[role] == whole[role]
    assert stage["embedding"] == whole["embedding"] // 2


def test_the_busiest_stage_takes_the_odd_layers():
    whole, stage = weights("llama-3.3-70b"), weights("llama-3.3-70b", pp=3)
    assert stage["dense"] == whole["dense"] * 27 // 80


@pytest.mark.parametrize(
    "parallel", [{"tp": 8}, {"dp": 8}, {"dp": 8, "ep": 8}, {"tp": 2, "dp": 4, "ep": 4}, {"tp": 4, "cp": 2}]
)
def test_experts_are_on_the_chips_of_a_stage_once(parallel):
    whole, shard = weights("deepseek-v3"), weights("deepseek-v3", **parallel)
    assert 8 * shard["experts"] == whole["experts"] == 2 * 58 * 256 * 3 * 7168 * 2048
    if "tp" not in parallel:
        assert shard["attention"] == whole["attention"]


def test_latents_are_on_every_tensor_parallel_rank():
    whole, shard = weights("deepseek-v3"), weights("deepseek-v3", tp=8)
    replicated = 61 * 2 * (7168 * (1536 + 576) + 1536 + 512)
    assert 8 * shard["attention"] - whole["attention"] == 7 * replicated


def test_fp8_blocks_carry_their_scales():
    """671 GB of fp8 with one fp32 per 128 x 128, and what stays in 16 bit; published download 688 GB."""
    spec = model("deepseek-v3")
    found = weights("deepseek-v3", spec.precision)
    assert found["experts"] == pytest.approx(58 * 256 * 3 * 7168 * 2048 * (1 + 4 / 16384), rel=1e-9)
    assert sum(found.values()) == pytest.approx(688.6e9, rel=0.01)


def test_every_parameter_is_somewhere():
    for name in ("qwen2.5-vl-7b", "gpt-oss-120b", "jamba-v0.1", "deepseek-v4-flash"):
        assert sum(weights(name).values()) == 2 * total_parameters(model(name))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("llama-3.1-8b", 131_072),
        ("llama-3.1-405b", 516_096),
        ("deepseek-v3", 70_272),
        ("qwen3-30b-a3b", 98_304),
    ],
)
def test_published_cache_bytes_per_token(name, published):
    assert kv_bytes_per_token_per_chip(model(name), WIDE, Parallel()) == published
    assert kv_bytes_per_token(model(name), WIDE) == published


def test_cache_shards():
    def kept(name: str, **parallel: int) -> int:
        return kv_bytes_per_token_per_chip(model(name), WIDE, Parallel(**parallel))

    assert [kept("llama-3.3-70b", tp=tp) for tp in (1, 2, 8, 16)] == [327_680, 163_840, 40_960, 40_960]
    assert kept("llama-3.3-70b", tp=2, pp=4) == 40_960
    assert kept("llama-3.3-70b", cp=4) == 81_920
    assert kept("llama-3.3-70b", dp=4) == 327_680
    assert kept("deepseek-v3", tp=8) == 70_272


def test_windowed_layers_are_a_fixed_cost():
    spec = model("gpt-oss-120b")
    assert kv_bytes_per_token_per_chip(spec, WIDE, Parallel()) == 18 * 2 * 8 * 64 * 2
    one = 18 * 2 * 8 * 64 * 2
    assert fixed_bytes_per_sequence_per_chip(spec, WIDE, Parallel(), 10_000) == 128 * one
    assert fixed_bytes_per_sequence_per_chip(spec, WIDE, Parallel(), 50) == 50 * one


def test_recurrent_state_by_hand():
    """Qwen3-Next: 36 linear layers of 32 heads of 128 x 128 in fp32, and 3 inputs of 8192 channels."""
    found = fixed_bytes_per_sequence_per_chip(model("qwen3-next-80b-a3b"), WIDE, Parallel(), 1)
    assert found == 36 * (4 * 32 * 128 * 128 + 2 * 3 * (2 * 16 * 128 + 32 * 128))


def test_activations_of_the_widest_layer():
    spec = model("llama-3.3-70b")
    one = activation_bytes_per_chip(spec, WIDE, Parallel(), 8192)
    assert one == 8192 * 2 * (2 * 8192 + 2 * 28672 + 8192 + 28672)
    assert activation_bytes_per_chip(spec, WIDE, Parallel(tp=8), 8192) < one
    assert activation_bytes_per_chip(spec, WIDE, Parallel(cp=2), 8192) == one // 2
