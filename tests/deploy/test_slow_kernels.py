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
