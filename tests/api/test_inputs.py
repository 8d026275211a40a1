"""Formats a caller asks for, laid over those of the checkpoint."""

import pytest

from tokenroof.api.inputs import precision
from tokenroof.catalog.catalog import load

CATALOG = load()


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("gpt-oss-120b", "mxfp4", ("bf16", "mxfp4", "bf16", "mxfp8")),
        ("gpt-oss-120b", "w4a16_mxfp4", ("bf16", "w4a16_mxfp4", "bf16", "bf16")),
        ("gpt-oss-120b", "nvfp4", ("bf16", "nvfp4", "bf16", "nvfp4")),
        ("gpt-oss-120b", "bf16", ("bf16", "bf16", "bf16", "bf16")),
        ("kimi-k2.5", "int4_g32", ("bf16", "int4_g32", "bf16", "bf16")),
        ("deepseek-v3", "fp8", ("fp8_block", "fp8_block", "fp8", "fp8")),
        ("deepseek-v4-pro", "mxfp4", ("fp8_block", "mxfp4", "fp8", "mxfp8")),
        ("deepseek-v4-pro", "fp8", ("fp8_block", "fp8_block", "fp8", "fp8")),
        ("deepseek-v3", "nvfp4", ("nvfp4", "nvfp4", "nvfp4", "nvfp4")),
        ("mixtral-8x7b", "fp8", ("fp8", "fp8", "fp8", "fp8")),
        ("mixtral-8x7b", "mxfp4", ("mxfp4", "mxfp4", "mxfp8", "mxfp8")),
    ],
)
def test_a_checkpoint_keeps_what_it_leaves_unquantised(model, weights, expected):
    found = precision(CATALOG.model(model), weights, None)
    assert (found.weights, found.experts, found.activations, found.expert_inputs) == expected


def test_formats_ignore_case():
    model = CATALOG.model("deepseek-v3")
    assert precision(model, "FP8", "BF16") == precision(model, "fp8", "bf16")
    assert precision(model, " NVFP4", "Fp8") == precision(model, "nvfp4", "fp8")
