"""Which layouts are legal and what is said otherwise; context parallelism."""

import pytest
from graph_helpers import WIDE, messages, model, named, ops

from tokenroof.catalog.model import Precision
from tokenroof.graph.core import Batch, Parallel, decode_batch, prefill_batch
from tokenroof.graph.sharding import rank_batch, sharding_problem

BLOCK = Precision(weights="fp8_block", experts="fp8_block", activations="fp8")


@pytest.mark.parametrize(
    ("name", "parallel"),
    [
        ("llama-3.3-70b", {"tp": 64}),
        ("llama-3.3-70b", {"tp": 8, "pp": 80}),
        ("qwen2.5-7b", {"tp": 4}),
        ("deepseek-v3", {"dp": 256, "ep": 256}),
        ("deepseek-v3", {"tp": 8, "ep": 8}),
        ("qwen3-next-80b-a3b", {"tp": 16}),
        ("mixtral-8x7b", {"tp": 2, "dp": 4, "ep": 8}),
    ],
)
def test_legal_layouts(name, parallel):
    assert sharding_problem(model(name), Parallel(**parallel)) is None


@pytest.mark.parametrize(
    ("name", "parallel", "said"),
    [
        (
            "llama-3.3-70b",
            {"tp": 3},
            "tp=3 does not divide the 64 query heads (llama-3.3-70b). Use tp=2 or tp=4.",
        ),
        ("llama-3.3-70b", {"pp": 81}, "pp=81 exceeds the 80 layers (llama-3.3-70b). Use pp=80."),
        ("qwen2.5-7b", {"tp": 8}, "tp=8 does not divide the 28 query heads (qwen2.5-7b). Use tp=4."),
        (
            "phi-4",
            {"tp": 4},
            "tp=4 does not divide the 10 key-value heads (phi-4). Use tp=2 or tp=5.",
        ),
        (
            "llama-3.3-70b",
            {"dp": 2, "ep": 2},
            "ep=2 needs routed experts, but there are none in the layers (llama-3.3-70b). Use ep=1.",
        ),
        (
            "deepseek-v3",
            {"dp": 8, "ep": 3},
            "ep=3 does not divide the 8 chips of a stage (tp * dp * cp) (deepseek-v3). Use ep=2 or ep=4.",
        ),
        (
            "mixtral-8x7b",
            {"dp": 16, "ep": 16},
            "ep=16 does not divide the 8 experts (mixtral-8x7b). Use ep=8.",
        ),
    ],
)
def test_illegal_layouts_name_the_nearest_legal_value(name, parallel, said):
    assert sharding_problem(model(name), Parallel(**parallel)) == said


def test_blocks_of_shared_scales_stay_whole():
    found = sharding_problem(model("qwen3-30b-a3b"), Parallel(tp=4), BLOCK)
    assert found == (
        "tp=4 splits each expert 4 ways, which leaves 192 outputs of gate, no multiple of 128 as "
        "fp8_block asks (qwen3-30b-a3b). Use tp=2 or ep=4."
    )
    assert sharding_problem(model("qwen3-30b-a3b"), Parallel(tp=4)) is None
    assert sharding_problem(model("qwen3-30b-a3b"), Parallel(tp=4, ep=4), BLOCK) is None


def test_experts_too_narrow_to_split_can_be_spread():
    minimax = model("minimax-m2.5")
    found = sharding_problem(minimax, Parallel(tp=8))
    assert found is not None
    assert found.endswith("Use tp=4 or ep=8.")
    for legal in (Parallel(tp=4), Parallel(tp=8, ep=8)):
        assert sharding_problem(minimax, legal) is None


@pytest.mark.parametrize("ways", [{"tp": 10**9}, {"pp": 10**9}, {"dp": 10**9, "ep": 7}, {"tp": 99_999}])
def test_absurd_ways_are_refused_at_once(ways):
    for name in ("llama-3.3-70b", "deepseek-v3", "jamba-v0.1"):
        assert sharding_problem(model(name), Parallel(**ways)) is not None


def test_context_parallel_ranks_split_a_prompt():
    found = ops("llama-3.3-70b", prefill_batch(1, 8000), WIDE, tp=2, cp=4)
    attention = named(found, "attn.prefill")
    assert named(found, "attn.qkv").m == attention.new_tokens == 2000
    assert attention.new_tokens + attention.past_tokens == 8000  # every rank sees all keys
    assert attention.pairs == 8000 * 8001 // 8
    assert messages(found)["comm.cp_kv_allgather"] == ("all_gather", 8000 * 2 * 4 * 128 * 2, 4, 2)


def test_context_parallel_ranks_split_the_cache_of_a_decode():
    found = ops("llama-3.3-70b", decode_batch(4, 7999), WIDE, tp=2, cp=4)
    assert named(found, "attn.qkv").m == 4
    assert named(found, "attn.decode").context_tokens == 4 * 8000 // 4
    kind, sent, group, stride = messages(found)["comm.cp_combine"]
    assert (kind, group, stride) == ("all_reduce", 4, 2)
    assert sent == 4 * 32 * (128 * 2 + 4)  # 16-bit outputs and an fp32 sum per head


def test_a_rank_holds_whole_sequences_of_mean_length():
    batch = Batch(
        decode_seqs=10,
        decode_context_tokens=1000,
        prefill_seqs=2,
        prefill_tokens=600,
        prefill_past_tokens=100,
        prefill_pairs=90_000,
        prefill_logits=2,
        image_tokens=50,
    )
    assert rank_batch(batch, Parallel(dp=4)) == Batch(
        decode_seqs=3,
        decode_context_tokens=300,
        prefill_seqs=1,
        prefill_tokens=300,
        prefill_past_tokens=50,
        prefill_pairs=45_000,
        prefill_logits=1,
        image_tokens=25,
    )
    assert rank_batch(batch, Parallel(tp=4)) is batch
