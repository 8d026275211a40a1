"""Laws every collective obeys on every fabric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from collective_machines import NIC, SWITCH, machine, net
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.perf.collectives import collective_s
from tokenroof.perf.collectives.core import KINDS
from tokenroof.perf.collectives.topology import TOPOLOGIES
from tokenroof.perf.core import Net

CHIPS = 64


def fabric(topology: str, **changes: object) -> Net:
    made = net(topology, CHIPS, **changes)
    return replace(made, in_network_reduction=True) if topology == "nvswitch" else made


topologies = st.sampled_from(sorted(TOPOLOGIES))
kinds = st.sampled_from(KINDS)
groups = st.sampled_from([2, 3, 4, 6, 8, 16, 32, 64, 128])
strides = st.sampled_from([1, 2, 4])
sizes = st.integers(min_value=0, max_value=1 << 34)


@given(topology=topologies, kind=kinds, group=groups, stride=strides, size=sizes)
def test_costs_are_positive_and_finite(topology: str, kind: str, group: int, stride: int, size: int) -> None:
    seconds = collective_s(kind, size, group, stride, machine(fabric(topology)))
    assert 0 < seconds < float("inf")


@given(topology=topologies, kind=kinds, group=groups, stride=strides, size=sizes, more=sizes)
def test_more_bytes_are_never_faster(
    topology: str, kind: str, group: int, stride: int, size: int, more: int
) -> None:
    chip = machine(fabric(topology))
    assert collective_s(kind, size, group, stride, chip) <= collective_s(
        kind, size + more, group, stride, chip
    )


@given(
    topology=topologies,
    kind=kinds,
    group=groups,
    stride=strides,
    size=sizes,
    field=st.sampled_from(["bandwidth_bytes_per_s", "hop_latency_s", "software_latency_s"]),
    factor=st.floats(min_value=1.0, max_value=100.0),
)
def test_a_better_fabric_is_never_slower(
    topology: str, kind: str, group: int, stride: int, size: int, field: str, factor: float
) -> None:
    base = fabric(topology)
    values = {
        "bandwidth_bytes_per_s": SWITCH.bandwidth_bytes_per_s * factor,
        "hop_latency_s": SWITCH.hop_latency_s / factor,
        "software_latency_s": SWITCH.software_latency_s / factor,
    }
    better = replace(base, **{field: values[field]})
    before = collective_s(kind, size, group, stride, machine(base))
    assert collective_s(kind, size, group, stride, machine(better)) <= before * (1 + 1e-12)


@given(group=st.sampled_from([4, 8, 16, 64]), size=st.integers(min_value=1 << 26, max_value=1 << 34))
def test_adding_in_the_network_never_loses_to_a_ring_on_large_messages(group: int, size: int) -> None:
    chip = machine(fabric("nvswitch"))
    ring = collective_s("all_reduce", size, group, 1, chip, algorithm="ring")
    assert collective_s("all_reduce", size, group, 1, chip, algorithm="in_network") <= ring


@given(topology=topologies, kind=st.sampled_from(["all_gather", "reduce_scatter"]), group=groups, size=sizes)
def test_an_all_reduce_costs_at_least_either_half(topology: str, kind: str, group: int, size: int) -> None:
    chip = machine(fabric(topology))
    half, whole = (collective_s(k, size, group, 1, chip) for k in (kind, "all_reduce"))
    assert half <= whole * (1 + 1e-12)


@given(topology=topologies, kind=kinds, group=groups, sizes=st.lists(sizes, min_size=2, max_size=5))
def test_arrays_of_messages_equal_one_by_one(topology: str, kind: str, group: int, sizes: list[int]) -> None:
    chip = machine(fabric(topology))
    at_once = collective_s(kind, np.array(sizes), group, 1, chip)
    assert at_once == pytest.approx([collective_s(kind, size, group, 1, chip) for size in sizes], rel=1e-12)


@given(topology=topologies, kind=kinds, group=groups, size=sizes)
def test_arrays_of_fabrics_equal_one_by_one(topology: str, kind: str, group: int, size: int) -> None:
    rates, latencies = np.array([1e11, 4.5e11, 1.8e12]), np.array([1e-6, 3e-7, 1e-7])
    base = fabric(topology)
    swept = replace(base, bandwidth_bytes_per_s=rates, hop_latency_s=latencies)
    at_once = collective_s(
        kind, size, group, 1, machine(swept, replace(NIC, bandwidth_bytes_per_s=rates / 9))
    )
    one_by_one = [
        collective_s(
            kind,
            size,
            group,
            1,
            machine(
                replace(base, bandwidth_bytes_per_s=float(rate), hop_latency_s=float(latency)),
                replace(NIC, bandwidth_bytes_per_s=float(rate) / 9),
            ),
        )
        for rate, latency in zip(rates, latencies, strict=True)
    ]
    assert np.broadcast_to(at_once, (3,)) == pytest.approx(one_by_one, rel=1e-12)
