"""Nothing is faster than the datasheet: the roofline is a roof for every chip and every kind of model."""

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch, prefill_batch
from tokenroof.perf.machine import build_machine
from tokenroof.perf.step import step_time

CATALOG = load()
MODELS = (
    "llama-3.1-8b",
    "qwen3-30b-a3b",
    "deepseek-v3.2",
    "gpt-oss-120b",
    "qwen3.5-35b-a3b",
    "falcon-h1-34b",
)
BATCHES = (decode_batch(1, 100), decode_batch(64, 4000), prefill_batch(1, 4096), prefill_batch(8, 300))


SERVED = [
    (chip, engine)
    for chip in CATALOG.chips()
    for engine in ("vllm", "sglang", "trtllm")
    if engine != "trtllm" or CATALOG.chip(chip).vendor == "NVIDIA"  # its kernels are for NVIDIA alone
]


@pytest.mark.parametrize(("chip", "engine"), SERVED)
def test_no_step_beats_the_datasheet(chip: str, engine: str) -> None:
    machine = build_machine(CATALOG.chip(chip), CATALOG.engine(engine))
    peak_flop_per_s = max(machine.peak_flop_per_s.values())
    peak_bytes_per_s = sum(tier.bandwidth_bytes_per_s for tier in machine.tiers)
    for name in MODELS:
        model = CATALOG.model(name)
        for batch in BATCHES:
            for timed in step_time(step_ops(model, model.precision, Parallel(), batch), machine).ops:
                work, count = timed.op.work, timed.op.count
                moved_bytes = count * (work.weights_bytes + work.kv_bytes + work.state_bytes)
                # Boost clocks let a few measured chips pass their rated peak; never by more than 10 %.
                assert timed.time_s > 0
                assert count * work.flop <= 1.1 * peak_flop_per_s * timed.time_s, timed.op
                assert moved_bytes <= 1.1 * peak_bytes_per_s * timed.time_s, timed.op
