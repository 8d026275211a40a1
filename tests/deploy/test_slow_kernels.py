"""A format whose measured kernel is slow is used as measured, and the answer says so."""

import pytest

import tokenroof as tr


@pytest.mark.parametrize(
    ("model", "weights", "said"),
    [("mixtral-8x7b", "fp8", True), ("mixtral-8x7b", "bf16", False), ("deepseek-v3", None, False)],
)
def test_a_slow_kernel_is_named(model, weights, said):
    answer = tr.estimate(model, "h200", tp=8, weights=weights, isl=100, osl=10, concurrency=4)[0]
    found = [text for text in answer.assumptions if "of the memory bandwidth" in text]
    assert [text.split(" was ")[0] for text in found] == (
        ["efficiency: moe fp8 with vllm on h200"] if said else []
    )


def test_a_framework_runs_its_better_kernel_where_a_relative_shows_one():
    """Kimi's 4-bit experts on H200: vLLM's Marlin path as measured on H100, not the slow one beside it."""
    h200, h100 = tr.estimate("kimi-k2.5", ["h200", "h100"], tp=16, isl=100, osl=10, concurrency=4)
    assert any("measured with a slow kernel on h200" in text for text in h200.assumptions)
    assert not any("slow kernel" in text for text in h100.assumptions)
    ours, theirs = (one.phases["decode"].time_s for one in (h200, h100))
    assert ours < 1.1 * theirs
