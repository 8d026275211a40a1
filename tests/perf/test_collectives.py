"""Costs of collectives: closed answers, hierarchy, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from collective_machines import NIC, SWITCH, machine, net

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.graph.core import Collective, Work
from tokenroof.perf.collectives import collective_s
from tokenroof.perf.collectives.algorithms.direct import direct
from tokenroof.perf.collectives.algorithms.torus_axes import torus_axes
from tokenroof.perf.collectives.candidates import ASSUMED_FRACTION
from tokenroof.perf.collectives.core import KINDS, Axis
from tokenroof.perf.collectives.dispatch import costs, members_per_domain
from tokenroof.perf.collectives.topology.torus import reach_of
from tokenroof.perf.dispatch import op_time

MIB = 1 << 20


def measured_row(kind: str, size: int, **parameters: float) -> OpEfficiency:
    return OpEfficiency(
        op=kind,
        chip="toy",
        kernels="nccl",
        dtype=f"n{size}",
        form="algorithms@nvswitch",
        parameters={"reference_software_s": 5e-6} | {k.replace("__", "."): v for k, v in parameters.items()},
        error_fraction=0.0,
        rows=1,
        source="test",
        claim="measured",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_one_costs_nothing(kind: str) -> None:
    assert collective_s(kind, MIB, 1, 1, machine()) == 0.0


def test_a_small_all_reduce_is_overhead_and_one_hop() -> None:
    assert collective_s("all_reduce", 0, 8, 1, machine()) == pytest.approx(5e-6 + 3e-7)


def test_a_large_ring_is_its_bytes() -> None:
    size = 1 << 30
    expected = 5e-6 + 14 * 3e-7 + 2 * 7 / 8 * size / (ASSUMED_FRACTION * 450e9)
    assert collective_s("all_reduce", size, 8, 1, machine(), algorithm="ring") == pytest.approx(expected)


def test_switches_that_add_beat_the_ring_on_large_messages() -> None:
    ring = collective_s("all_reduce", 1 << 30, 8, 1, machine(), algorithm="ring")
    added = collective_s("all_reduce", 1 << 30, 8, 1, machine(), algorithm="in_network")
    assert added / ring == pytest.approx(8 / 14, rel=0.01)


def test_the_cheapest_algorithm_changes_with_the_message() -> None:
    sizes = np.array([1024, 1 << 28])
    small, large = (costs("all_reduce", int(s), 8, 1, machine())[0][1].algorithm for s in sizes)
    assert (small, large) == ("one_shot", "in_network")
    both = collective_s("all_reduce", sizes, 8, 1, machine())
    assert both == pytest.approx([collective_s("all_reduce", int(s), 8, 1, machine()) for s in sizes])
    assert costs("all_reduce", sizes, 8, 1, machine())[0][1].algorithm == "mixed"


@pytest.mark.parametrize(
    ("message_bytes", "axes", "published_s"),
    [
        (2 * 1024 * 4096 / 4, 1, 23e-6),
        (2 * 1024 * 4096, 2, 46e-6),
        (2 * 2 * 1024 * 4096 / 16 / 2, 1, 5.8e-6),
    ],
)
def test_scaling_book_all_gathers_on_tpu_v4p(message_bytes: float, axes: int, published_s: float) -> None:
    """Question 2 of "Sharded matrices": 90 GB/s per axis both ways, wrapped; it counts V, we (n-1)/n V.

    Source: scaling-book-sharding.
    """
    ring = Axis(extent=4, hops=1, wraps=True, bandwidth_bytes_per_s=9e10)
    seen = reach_of((ring,) * axes, 4**axes)
    plan = torus_axes("all_gather", message_bytes, seen)
    assert plan is not None
    whole = plan.sent_bytes * seen.group / (seen.group - 1)
    assert whole / plan.bandwidth_bytes_per_s == pytest.approx(published_s, rel=0.02)


def test_scaling_book_latency_of_a_tiny_all_gather() -> None:
    """Question 3: two hops of about 1 us round a wrapped axis of four. Source: scaling-book-sharding."""
    seen = reach_of((Axis(extent=4, hops=1, wraps=True, bandwidth_bytes_per_s=9e10),), 4)
    plan = torus_axes("all_gather", 256.0, seen)
    assert plan is not None
    assert plan.hops * 1e-6 == pytest.approx(2e-6)


def test_scaling_book_all_to_all_is_a_quarter_of_the_all_gather() -> None:
    """On a bidirectional ring, for the same total array. Source: scaling-book-sharding."""
    n, total = 64, 1e9
    seen = reach_of((Axis(extent=n, hops=1, wraps=True, bandwidth_bytes_per_s=9e10),), n)
    gather, exchange = torus_axes("all_gather", total, seen), direct("all_to_all", total / n, seen)
    assert gather is not None
    assert exchange is not None
    ratio = (exchange.sent_bytes / exchange.bandwidth_bytes_per_s) / (
        gather.sent_bytes / gather.bandwidth_bytes_per_s
    )
    assert ratio == pytest.approx(0.25, rel=0.02)


def test_liminal_sync_is_three_collectives_of_one_and_a_half_microseconds() -> None:
    """4.5 us per layer at TP >= 32: what the LIMINAL outcomes imply. Source: liminal."""
    fabric = net("nvswitch", 128, hop_latency_s=0.5e-6, software_latency_s=1e-6, bandwidth_bytes_per_s=1e15)
    layer_s = 3 * collective_s("all_reduce", 16384, 32, 1, machine(fabric))
    assert layer_s == pytest.approx(4.5e-6, rel=0.001)


def test_a_group_across_domains_reduces_inside_first() -> None:
    size = 1 << 28
    inside = sum(collective_s(k, size, 8, 1, machine()) for k in ("reduce_scatter", "all_gather"))
    between = collective_s("all_reduce", size // 8, 2, 1, machine(scale_up=None))
    assert collective_s("all_reduce", size, 16, 1, machine()) == pytest.approx(inside + between)
    assert [fabric.name for fabric, _ in costs("all_reduce", size, 16, 1, machine())] == [
        "switch",
        "nic",
        "switch",
    ]


@pytest.mark.parametrize(
    ("group", "stride", "inside"), [(16, 1, 8), (12, 1, 6), (2, 8, 1), (4, 4, 2), (7, 2, 1)]
)
def test_members_per_domain(group: int, stride: int, inside: int) -> None:
    assert members_per_domain(group, stride, 8) == inside


def test_a_send_between_nodes_uses_the_scale_out_fabric() -> None:
    ((fabric, cost),) = costs("send_recv", 50_000_000, 2, 8, machine())
    assert fabric.name == "nic"
    assert cost.wire_s == pytest.approx(50e6 / (ASSUMED_FRACTION * 50e9))


def test_no_scale_out_fabric_is_a_clear_error() -> None:
    with pytest.raises(InputError, match="16 chips of toy need a scale-out fabric"):
        collective_s("all_reduce", MIB, 16, 1, machine(scale_out=None))


@pytest.mark.parametrize(
    ("kind", "group", "algorithm", "error"),
    [
        ("allreduce", 8, "", UnknownNameError),
        ("all_reduce", 8, "rings", UnknownNameError),
        ("all_reduce", 8, "torus_axes", InputError),
        ("all_reduce", 0, "", InputError),
    ],
)
def test_bad_input_is_refused(kind: str, group: int, algorithm: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        collective_s(kind, MIB, group, 1, machine(), algorithm=algorithm)


def test_measured_rows_replace_the_assumptions() -> None:
    row = measured_row("all_reduce", 8, one_shot__alpha_s=3e-6, one_shot__fraction=0.5)
    seconds = collective_s("all_reduce", 16384, 8, 1, machine(rows=(row,)))
    assert seconds == pytest.approx(3e-6 + 3e-7 + 7 * 16384 / (0.5 * 450e9))


def test_sharpness_overlaps_overhead_and_wires() -> None:
    row = measured_row("send_recv", 2, send_recv__alpha_s=3.7e-6, send_recv__fraction=1.0, sharpness=2.0)
    size = round(450e9 * 3e-6)
    ((_, cost),) = costs("send_recv", size, 2, 1, machine(rows=(row,)))
    assert cost.time_s == pytest.approx(5e-6, rel=1e-6)
    assert cost.latency_s / cost.wire_s == pytest.approx(4 / 3, rel=1e-6)


def test_a_faster_stack_scales_measured_overheads() -> None:
    row = measured_row("all_reduce", 8, one_shot__alpha_s=3e-6, one_shot__fraction=0.5)
    third = replace(SWITCH, software_latency_s=5e-6 / 3)
    seconds = collective_s("all_reduce", 0, 8, 1, machine(third, rows=(row,)))
    assert seconds == pytest.approx(1e-6 + 3e-7)


def test_unmeasured_sizes_take_the_nearest_and_grow_beyond_the_largest() -> None:
    rows = (
        measured_row("all_reduce", 4, one_shot__alpha_s=3e-6, one_shot__fraction=0.5),
        measured_row("all_reduce", 8, one_shot__alpha_s=4e-6, one_shot__fraction=0.5),
    )
    wide = replace(SWITCH, domain_size=64)
    at = {n: collective_s("all_reduce", 0, n, 1, machine(wide, rows=rows)) - 3e-7 for n in (2, 4, 8, 16, 32)}
    assert at == pytest.approx({2: 3e-6, 4: 3e-6, 8: 4e-6, 16: 5e-6, 32: 6e-6})


def test_rows_borrowed_from_another_topology_fall_back_when_none_can_run() -> None:
    row = measured_row("all_reduce", 8, in_network__alpha_s=3e-6, in_network__fraction=0.5)
    mesh = net("full_mesh", 8)
    assert collective_s("all_reduce", 0, 8, 1, machine(mesh, rows=(row,))) == pytest.approx(5e-6 + 3e-7)


def test_the_operator_reports_wires_latency_energy_and_what_shows() -> None:
    op = Collective(
        name="comm.attn_allreduce", count=10, work=Work(), kind="send_recv", message_bytes=MIB, group=2
    )
    spent = op_time(op, machine(exposed=0.5))
    wire_s = MIB / (ASSUMED_FRACTION * 450e9)
    assert spent.network_s == pytest.approx({"switch": 10 * wire_s})
    assert spent.latency_s == pytest.approx(10 * 5.3e-6)
    assert spent.time_s == pytest.approx(0.5 * 10 * (wire_s + 5.3e-6))
    assert spent.energy_j == pytest.approx(10 * MIB * 6e-11)


def test_bytes_between_nodes_cost_the_nic_energy() -> None:
    op = Collective(
        name="comm.pp_send", count=1, work=Work(), kind="send_recv", message_bytes=MIB, group=2, stride=8
    )
    assert op_time(op, machine()).energy_j == pytest.approx(MIB * NIC.energy_j_per_byte)
