"""Kernels that servers run instead of the measured ones."""

from __future__ import annotations

import numpy as np
import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.efficiency import load as load_rows
from tokenroof.catalog.kernel_choices import COLUMNS, kernel_choices, read
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.errors import CatalogError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch, prefill_batch
from tokenroof.perf.borrow import choose_rows, shipped_rows
from tokenroof.perf.machine import build_machine
from tokenroof.perf.step import step_time

ROWS = load_rows()
CATALOG = load().tuned(NEUTRAL)


def test_every_choice_points_at_measured_rows_with_a_source():
    sources = CATALOG.sources()
    for (op, family, kernels, dtype, over), choice in kernel_choices().items():
        here = [row for row in ROWS if (row.op, row.kernels) == (op, kernels)]
        replaced = [row for row in here if row.dtype == dtype and row.kernel == over]
        assert any(CATALOG.chip(row.chip).family == family for row in replaced)
        assert [row for row in here if (row.chip, row.dtype) == (choice.chip, choice.dtype)]
        assert CATALOG.chip(choice.chip).family == family
        assert choice.source in sources
        assert choice.note


@pytest.mark.parametrize("chip", ["h100", "h200", "gh200"])
def test_gpt_oss_on_hopper_runs_marlin_and_says_so(chip):
    on = CATALOG.chip(chip)
    found = shipped_rows(on.name, on.relative, on.family, "vllm", "")
    assert "marlin" in found.row("moe", "w4a16_mxfp4").kernel
    assert any("VLLM_MXFP4_USE_MARLIN=1" in said for said in found.borrowed)


def test_other_engines_and_families_keep_their_kernels():
    assert (
        "marlin" not in shipped_rows("h200", "h100", "hopper", "sglang", "").row("moe", "w4a16_mxfp4").kernel
    )
    assert shipped_rows("b300", "b200", "blackwell", "vllm", "").row("moe", "fp8_block").chip == "b300"


def test_the_users_own_measurement_is_not_replaced():
    where = ("moe", "h200", "vllm", "w4a16_mxfp4")
    shipped = next(row for row in ROWS if (row.op, row.chip, row.kernels, row.dtype) == where)
    own = OpEfficiency(**{**_fields(shipped), "kernel": "mine"})
    found = choose_rows("h200", "h100", "hopper", "vllm", "", (own, *ROWS))
    assert found.row("moe", "w4a16_mxfp4").kernel == "mine"


def test_marlin_is_slower_on_prompts_and_faster_on_small_batches():
    """What servers with it show: longer TTFT, shorter steps than with the Triton kernels."""
    model = CATALOG.model("gpt-oss-120b")
    marlin = build_machine(CATALOG.chip("h200"), CATALOG.engine("vllm"))
    triton = build_machine(
        CATALOG.chip("h200"),
        CATALOG.engine("vllm"),
        efficiencies=[_renamed(row) for row in ROWS],
    )
    for batch, slower in ((prefill_batch(1, 8000), True), (decode_batch(16, 1000), False)):
        ops = step_ops(model, model.precision, Parallel(), batch)
        times = [float(np.asarray(step_time(ops, on).time_s)) for on in (marlin, triton)]
        assert (times[0] > times[1]) is slower


def test_a_choice_of_a_row_that_is_not_there_is_an_error():
    rows = [row for row in ROWS if (row.chip, row.dtype, row.op) != ("h100", "int4_wo", "moe")]
    with pytest.raises(CatalogError, match="no vllm row for moe int4_wo on h100"):
        choose_rows("h200", "h100", "hopper", "vllm", "", rows)


def test_a_malformed_file_is_named(tmp_path):
    path = tmp_path / "choices.csv"
    path.write_text("op,family\n")
    with pytest.raises(CatalogError, match="expected the columns op, family, kernels"):
        read(path)
    line = "moe,hopper,vllm,fp8,a,h100,fp8,why,tokenroof,assumption\n"
    path.write_text(",".join(COLUMNS) + "\n" + line + line)
    with pytest.raises(CatalogError, match="chosen twice"):
        read(path)


def _fields(row: OpEfficiency) -> dict[str, object]:
    return {name: getattr(row, name) for name in OpEfficiency.__slots__}


def _renamed(row: OpEfficiency) -> OpEfficiency:
    return OpEfficiency(**{**_fields(row), "kernel": f"{row.kernel} "})
