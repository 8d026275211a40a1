"""Measured all-reduces through the shipped fits, and how rows are borrowed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import load as load_efficiencies
from tokenroof.perf.collectives import collective_s
from tokenroof.perf.collectives.candidates import REFERENCE, parse
from tokenroof.perf.collectives.core import KINDS
from tokenroof.perf.collectives.rows import collective_rows, form_name
from tokenroof.perf.core import Machine
from tokenroof.perf.machine import build_machine, fabric_net

CATALOG = load()
ROWS = load_efficiencies()
COLLECTIVES = [row for row in ROWS if row.op in KINDS]


def machine(chip: str, kernels: str) -> Machine:
    engine = replace(CATALOG.engine("generic"), kernels=kernels)
    return build_machine(CATALOG.chip(chip), engine)


@pytest.mark.parametrize(
    ("chip", "group", "kernels", "measured_us"),
    [
        ("h100", 8, "trtllm", 3.6),
        ("h100", 8, "vllm", 5.3),
        ("h100", 8, "nccl", 19.0),
        ("h200", 8, "trtllm", 3.5),
        ("h200", 8, "vllm", 5.2),
        ("h200", 8, "nccl", 18.3),
        ("a100", 8, "trtllm", 8.4),
        ("a100", 8, "vllm", 6.5),
        ("a100", 8, "nccl", 22.6),
        ("b200", 8, "trtllm", 5.9),
        ("b200", 8, "vllm", 8.1),
        ("b200", 8, "nccl", 26.6),
        ("gb200-nvl72", 4, "trtllm", 4.95),
        ("gb200-nvl72", 4, "vllm", 5.4),
        ("gb200-nvl72", 4, "nccl", 16.8),
        ("rtx-pro-6000", 8, "nccl", 27.0),
    ],
)
def test_all_reduce_of_16_kib(chip: str, group: int, kernels: str, measured_us: float) -> None:
    """Headline latencies of the measured table, within 12 %. Source: aic-comm."""
    seconds = collective_s("all_reduce", 16384, group, 1, machine(chip, kernels))
    assert seconds * 1e6 == pytest.approx(measured_us, rel=0.12)


def test_bus_bandwidth_of_eight_h100_with_adding_switches() -> None:
    """2^30 bytes in 4.008 ms: 469 GB/s of bus bandwidth, more than the links' 450. Source: aic-comm."""
    seconds = collective_s("all_reduce", 1 << 30, 8, 1, machine("h100", "trtllm"))
    assert seconds == pytest.approx(4.008e-3, rel=0.05)


def test_measured_overheads_were_taken_at_the_overhead_the_catalog_states() -> None:
    """A change of the catalog's software overhead needs a new fit, or it would scale the measurements."""
    for row in COLLECTIVES:
        net = fabric_net(CATALOG.chip(row.chip).scale_up)
        assert net is not None
        assert row.form == form_name(net.topology)
        assert row.parameters[REFERENCE] == pytest.approx(net.software_latency_s, rel=1e-3), row.chip


def test_shipped_rows_are_physical() -> None:
    assert len(COLLECTIVES) > 150
    for row in COLLECTIVES:
        for candidate in parse(row.parameters):
            assert 0 <= candidate.alpha_s < 50e-3
            assert 0 < candidate.fraction < 1.5


def test_a_chip_takes_its_own_framework_then_the_library() -> None:
    chosen, notes = collective_rows("h100", "h200", "vllm", "nvswitch", ROWS)
    assert {chosen["all_reduce", f"n{n}"].kernels for n in (2, 4, 8)} == {"vllm"}
    assert chosen["all_gather", "n8"].kernels == "nccl"
    assert notes == ()


def test_a_relative_on_the_same_fabric_stands_in_and_is_named() -> None:
    chosen, notes = collective_rows("h20", "h100", "vllm", "nvswitch", ROWS)
    assert chosen["all_reduce", "n8"].chip == "h100"
    assert "all_reduce was not measured on h20; taken from h100, vllm, scaled to its links." in notes


def test_a_relative_on_another_fabric_does_not() -> None:
    chosen, notes = collective_rows("tpu-v6e", "h100", "vllm", "torus2d", ROWS)
    assert chosen == {}
    assert len(notes) == len(KINDS)


def test_nvl72_extrapolates_beyond_the_measured_sixteen() -> None:
    chip = machine("gb300-nvl72", "trtllm")
    times = [collective_s("all_reduce", 16384, n, 1, chip) for n in (8, 16, 32, 72)]
    assert times == sorted(times)


def test_a_sixteenth_of_a_torus_pod_pays_hops() -> None:
    """Eight v6e chips are 4x2 without wrap: 3 + 1 hops, twice, and 2 us of software."""
    chip = machine("tpu-v6e", "generic")
    assert collective_s("all_reduce", 0, 8, 1, chip, algorithm="torus_axes") == pytest.approx(10e-6)
