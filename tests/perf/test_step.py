"""A step is the sum of its operators and the host's share; what an operator's peak is."""

from dataclasses import replace

import numpy as np
import pytest

from tokenroof.catalog.catalog import load
from tokenroof.errors import InputError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel, decode_batch
from tokenroof.perf.machine import build_machine
from tokenroof.perf.operators import op_time
from tokenroof.perf.peaks import peak_name
from tokenroof.perf.step import step_time
from tokenroof.perf.table import compile_table

CATALOG = load()
MODEL = CATALOG.model("llama-3.1-8b")
MACHINE = build_machine(CATALOG.chip("h100"), CATALOG.engine("vllm"))


def test_a_step_is_its_operators_and_the_host() -> None:
    ops = step_ops(MODEL, MODEL.precision, Parallel(tp=2), decode_batch(16, 1000))
    timed = step_time(ops, MACHINE)
    assert timed.time_s == pytest.approx(sum(op_time(op, MACHINE).time_s for op in ops) + 0.5e-3)
    assert timed.overhead_s == 0.5e-3
    dynamic_j = sum(item.energy_j for item in timed.ops)
    assert timed.energy_j == pytest.approx(dynamic_j + MACHINE.idle_w * timed.time_s)


def test_an_empty_step_is_the_host_alone() -> None:
    assert step_time([], MACHINE).time_s == MACHINE.step_overhead_s


def test_hidden_collectives_shorten_the_step() -> None:
    ops = step_ops(MODEL, MODEL.precision, Parallel(tp=8), decode_batch(16, 1000))
    hidden = replace(MACHINE, exposed_collective_fraction=0.0)
    comms_s = sum(op_time(op, MACHINE).time_s for op in ops if op.name.startswith("comm."))
    assert step_time(ops, MACHINE).time_s - step_time(ops, hidden).time_s == pytest.approx(comms_s)


def test_an_array_in_the_machine_gives_an_array() -> None:
    overheads = np.array([0.0, 1e-3])
    swept = replace(MACHINE, step_overhead_s=overheads)
    ops = step_ops(MODEL, MODEL.precision, Parallel(), decode_batch(1, 10))
    times = step_time(ops, swept).time_s
    assert times[1] - times[0] == pytest.approx(1e-3)


def test_peaks_follow_the_formats() -> None:
    fp8 = replace(MODEL.precision, weights="fp8", activations="fp8")
    ops = step_ops(MODEL, fp8, Parallel(), decode_batch(4, 100))
    peaks = {op.name: peak_name(op, MACHINE) for op in ops}
    assert peaks["mlp.down"] == "fp8"
    assert peaks["head.logits"] == "bf16"
    assert peaks["attn.decode"] == "bf16"


def test_a_table_for_one_token_refuses_drafts() -> None:
    table = compile_table(MODEL, MODEL.precision, Parallel(), MACHINE, dense_tokens=1024)
    drafts = Batch(decode_seqs=1, decode_context_tokens=10, decode_tokens=4)
    with pytest.raises(InputError, match="decode_tokens of the batch is 4, the table was compiled for 1"):
        table.step_s(drafts)
    for_drafts = compile_table(
        MODEL, MODEL.precision, Parallel(), MACHINE, dense_tokens=1024, decode_tokens=4
    )
    ops = step_ops(MODEL, MODEL.precision, Parallel(), drafts)
    assert for_drafts.step_s(drafts) == pytest.approx(step_time(ops, MACHINE).time_s, rel=5e-3)


def test_the_same_machine_gives_the_same_table() -> None:
    one = compile_table(MODEL, MODEL.precision, Parallel(), MACHINE, dense_tokens=1024)
    assert compile_table(MODEL, MODEL.precision, Parallel(), MACHINE, dense_tokens=1024) is one
    assert ("gemm", "bf16") in dict(one.efficiencies)
    with pytest.raises(ValueError, match="read-only"):
        one.decode.time_s[0, 0] = 1.0
