"""What is not known: a peak that had to be assumed, power, the numbers of a refusal."""

from __future__ import annotations

from dataclasses import replace

import by_hand
import pytest

import tokenroof as tr
from tokenroof.catalog.catalog import load
from tokenroof.deploy.core import Infeasible
from tokenroof.report import frames, tables
from tokenroof.report.charts import roofline
from tokenroof.report.explain import phase_sentence
from tokenroof.report.json import document


def without_energy():
    estimate = by_hand.estimate("h100")
    phases = {
        name: replace(p, energy_j=None, ops=tuple(replace(op, energy_j=None) for op in p.ops))
        for name, p in estimate.phases.items()
    }
    return replace(estimate, phases=phases)


@pytest.mark.parametrize("chip", ["rubin-cpx", "tpu-v8t", "tpu-v8i", "ascend-950dt", "ascend-950pr"])
def test_an_assumed_peak_has_its_roof(chip):
    assert not {"bf16", "fp16"} & set(load().chip(chip).peak_flop_per_s)
    (estimate,) = tr.estimate(model="llama-3.1-8b", chip=chip, isl=512, osl=64, concurrency=4).estimates
    rows = roofline.roof_rows("x", estimate, (1.0, 1e5))
    tops = {row["achieved"] for row in rows if row["order"] == max(r["order"] for r in rows)}
    assert set(roofline.peaks(estimate)) == tops
    assert any("assumed 16-bit peak" in row["of"] for row in rows)


def test_a_chip_has_the_roofs_of_the_phases_it_runs():
    found = by_hand.estimate("h100")
    peak = max(roofline.peaks(found))
    assert roofline.peaks(found, "h100") == roofline.peaks(found)
    assert roofline.peaks(found, "another") == ()
    assert peak > 0


def test_unknown_energy_is_said_and_null():
    estimate = without_energy()
    assert "unknown energy" in phase_sentence(estimate, estimate.phases["decode"])
    assert document([estimate])["estimates"][0]["phases"]["decode"]["energy_j"] is None
    assert frames.operator_frame([estimate])["energy_j"].null_count() == sum(
        len(phase.ops) for phase in estimate.phases.values()
    )


@pytest.mark.parametrize("unit", ["", "chips"])
def test_a_refusal_without_numbers_shows_dashes(unit):
    problem = Infeasible(reason="no such layout", unit=unit)
    estimate = replace(by_hand.estimate("h100"), metrics={}, phases={}, infeasible=problem)
    table = tables.infeasible([estimate])
    assert table is not None
    assert [list(table.columns[place].cells) for place in (1, 2)] == [["-"], ["-"]]
