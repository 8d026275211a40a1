"""A checkpoint says what is stored; the chip says what is multiplied."""

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.model import Precision
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import MoeExperts, Parallel, decode_batch
from tokenroof.perf.lowprec import compute_path, formats_on, with_wide_peak

CATALOG = load()


def peaks(chip):
    stated = {name: peak.value for name, peak in CATALOG.chip(chip).peak_flop_per_s.items()}
    return with_wide_peak(stated)[0]


@pytest.mark.parametrize(
    ("model", "chip", "row"),
    [
        ("gpt-oss-120b", "b200", "w4a8_mxfp4_mxfp8"),
        ("gpt-oss-120b", "gb200-nvl72", "w4a8_mxfp4_mxfp8"),
        ("gpt-oss-120b", "b300", "w4a8_mxfp4_mxfp8"),
        ("gpt-oss-120b", "mi355x", "w4a8_mxfp4_mxfp8"),
        ("gpt-oss-120b", "h100", "w4a16_mxfp4"),
        ("gpt-oss-120b", "mi300x", "w4a16_mxfp4"),
        ("gpt-oss-20b", "a100", "w4a16_mxfp4"),
        ("deepseek-v4-pro", "b200", "w4a8_mxfp4_mxfp8"),
        ("deepseek-v4-pro", "h200", "w4a16_mxfp4"),
        ("kimi-k2.5", "b200", "int4_wo"),
        ("kimi-k2.5", "h200", "int4_wo"),
        ("deepseek-v3", "h200", "fp8_block"),
        ("deepseek-v3", "a100", "int8_wo"),
    ],
)
def test_experts_run_on_what_the_chip_has(model, chip, row):
    spec, found = CATALOG.model(model), peaks(chip)
    formats = formats_on(spec.precision, found)
    ops = step_ops(spec, formats, Parallel(), decode_batch(8, 100))
    experts = next(op for op in ops if isinstance(op, MoeExperts))
    path = compute_path(experts.weight_dtype, experts.act_dtype, found)
    assert path.row == row
    assert path.quantises == (experts.act_dtype != "bf16")


def test_attention_of_gpt_oss_stays_in_16_bit_everywhere():
    for chip in ("b200", "h100", "a100"):
        formats = formats_on(CATALOG.model("gpt-oss-120b").precision, peaks(chip))
        assert (formats.weights, formats.activations) == ("bf16", "bf16")


def test_what_is_stored_does_not_depend_on_the_chip():
    stored = Precision(weights="nvfp4", experts="nvfp4", activations="nvfp4", kv="fp8")
    assert formats_on(stored, peaks("b200")) == stored
    unpacked = formats_on(stored, peaks("h100"))
    assert (unpacked.weights, unpacked.experts, unpacked.kv) == ("nvfp4", "nvfp4", "fp8")
    assert (unpacked.activations, unpacked.expert_inputs) == ("bf16", "bf16")
