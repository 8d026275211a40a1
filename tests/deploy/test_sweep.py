"""Design points by arrays: the same numbers as one at a time, and laws that a sweep must keep."""

from dataclasses import replace

import numpy as np
import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy import sweep
from tokenroof.deploy.sweep import design_points, table_points
from tokenroof.errors import InputError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch, prefill_batch
from tokenroof.perf.core import Machine
from tokenroof.perf.machine import build_machine
from tokenroof.perf.step import step_time
from tokenroof.perf.table import compile_table

CATALOG = load()
CHIPS = Parallel(tp=2)


def subject(name: str = "gpt-oss-120b", chip: str = "h100") -> tuple[ModelSpec, Machine]:
    return CATALOG.model(name), build_machine(CATALOG.chip(chip), CATALOG.engine("vllm"))


def test_arrays_give_what_single_points_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BLOCK_POINTS", 3)  # several blocks, the last one short
    model, machine = subject()
    rng = np.random.default_rng(1)
    batch, context, prompt = (rng.integers(1, most, 7) for most in (200, 9000, 5000))
    bandwidth = rng.uniform(2e12, 9e12, 7)
    swept = replace(machine, tiers=(replace(machine.tiers[0], bandwidth_bytes_per_s=bandwidth),))
    together = design_points(
        model, model.precision, CHIPS, swept, batch=batch, context_tokens=context, prompt_tokens=prompt
    )
    for index in range(7):
        one = replace(
            machine, tiers=(replace(machine.tiers[0], bandwidth_bytes_per_s=float(bandwidth[index])),)
        )
        decode = step_ops(model, model.precision, CHIPS, decode_batch(int(batch[index]), int(context[index])))
        prefill = step_ops(model, model.precision, CHIPS, prefill_batch(1, int(prompt[index])))
        timed = step_time(decode, one)
        assert together["decode_step_s"][index] == pytest.approx(timed.time_s, rel=1e-9)
        assert together["decode_energy_j"][index] == pytest.approx(timed.energy_j, rel=1e-9)
        assert together["prefill_s"][index] == pytest.approx(step_time(prefill, one).time_s, rel=1e-9)


def test_the_table_gives_the_same_points() -> None:
    model, machine = subject()
    points = {"batch": [1, 64, 300], "context_tokens": [10, 3000, 700], "prompt_tokens": [1, 2000, 8000]}
    direct = design_points(model, model.precision, CHIPS, machine, **points)
    looked_up = table_points(compile_table(model, model.precision, CHIPS, machine), **points)
    for name, values in direct.items():
        assert looked_up[name] == pytest.approx(values, rel=5e-3), name


@pytest.mark.parametrize("name", ["bandwidth", "peak", "links"])
def test_more_of_anything_is_never_slower(name: str) -> None:
    model, machine = subject("llama-3.3-70b")
    scale = np.linspace(0.25, 4.0, 16)
    assert machine.scale_up is not None
    swept = {
        "bandwidth": replace(
            machine,
            tiers=tuple(
                replace(t, bandwidth_bytes_per_s=t.bandwidth_bytes_per_s * scale) for t in machine.tiers
            ),
        ),
        "peak": replace(
            machine, peak_flop_per_s={key: peak * scale for key, peak in machine.peak_flop_per_s.items()}
        ),
        "links": replace(
            machine,
            scale_up=replace(
                machine.scale_up, bandwidth_bytes_per_s=machine.scale_up.bandwidth_bytes_per_s * scale
            ),
        ),
    }[name]
    found = design_points(
        model,
        model.precision,
        Parallel(tp=8),
        swept,
        batch=np.full(16, 48),
        context_tokens=np.full(16, 4000),
        prompt_tokens=np.full(16, 3000),
    )
    for values in (found["decode_step_s"], found["prefill_s"]):
        assert np.all(np.diff(values) <= 1e-12)
        assert np.all(np.isfinite(values))


def test_bad_points_are_refused() -> None:
    model, machine = subject()
    with pytest.raises(InputError, match="do not broadcast"):
        design_points(
            model, model.precision, CHIPS, machine, batch=[1, 2], context_tokens=[1, 2, 3], prompt_tokens=1
        )
    with pytest.raises(InputError, match="at least 1 everywhere"):
        design_points(model, model.precision, CHIPS, machine, batch=[1, 0], context_tokens=1, prompt_tokens=1)
