"""What a group sees of each fabric, against published hop counts and bisections."""

from __future__ import annotations

from math import prod

import pytest
from collective_machines import SWITCH, net
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError, UnknownNameError
from tokenroof.perf.collectives.topology import TOPOLOGIES, reach
from tokenroof.perf.collectives.topology.fat_tree import levels
from tokenroof.perf.collectives.topology.torus import block


@pytest.mark.parametrize(
    ("topology", "dims", "diameter"),
    [
        ("torus3d", (16, 16, 16), 24),
        ("torus2d", (16, 16), 16),
        ("torus3d", (4, 4, 4), 6),
        ("ring", (8,), 4),
        ("full_mesh", (), 1),
        ("nvswitch", (), 1),
        ("dragonfly", (), 3),
    ],
)
def test_published_diameters(topology: str, dims: tuple[int, ...], diameter: int) -> None:
    """Sum of floor(d/2) on tori, local-global-local on a dragonfly, one elsewhere."""
    chips = prod(dims) if dims else 64
    assert reach(net(topology, chips, dims), chips).diameter_hops == diameter


@pytest.mark.parametrize(("endpoints", "tiers"), [(64, 1), (2048, 2), (2049, 3)])
def test_a_two_tier_tree_of_k_ports_joins_half_k_squared(endpoints: int, tiers: int) -> None:
    assert levels(endpoints, 64) == tiers
    assert reach(net("fat_tree", 65536), endpoints).diameter_hops == 2 * tiers - 1


def test_bisection_of_a_torus_is_two_links_per_line() -> None:
    """2 N / max(d) links: 16x16x16 has 512."""
    fabric = net("torus3d", 4096, (16, 16, 16))
    link = fabric.bandwidth_bytes_per_s / 6
    assert reach(fabric, 4096).bisection_bytes_per_s == pytest.approx(512 * link)


def test_a_pair_on_a_full_mesh_owns_one_link() -> None:
    """MI300X: 7 links of 64 GB/s."""
    fabric = net("full_mesh", 8, bandwidth_bytes_per_s=448e9)
    assert reach(fabric, 2).ring_bytes_per_s == pytest.approx(64e9)
    assert reach(fabric, 8).ring_bytes_per_s == pytest.approx(448e9)
    assert reach(fabric, 8).bisection_bytes_per_s == pytest.approx(16 * 64e9)


def test_short_axes_of_a_2d_torus_do_not_wrap_and_3d_cubes_do() -> None:
    """scaling-book, TPU chapter."""
    flat = reach(net("torus2d", 256, (16, 16)), 16)
    cube = reach(net("torus3d", 4096, (16, 16, 16)), 64)
    assert [(axis.extent, axis.wraps) for axis in flat.axes] == [(4, False), (4, False)]
    assert [(axis.extent, axis.wraps) for axis in cube.axes] == [(4, True)] * 3


def test_a_strided_group_shares_its_axis_with_the_groups_between() -> None:
    fabric = net("torus2d", 256, (16, 16))
    seen = reach(fabric, 4, 16)
    assert seen.axes[0].hops == 4
    assert seen.axes[0].bandwidth_bytes_per_s == pytest.approx(fabric.bandwidth_bytes_per_s / 2 / 4)


def test_a_group_that_no_block_holds_lies_on_a_line() -> None:
    assert block(17, (16, 16)) is None
    assert reach(net("torus2d", 256, (16, 16)), 17).diameter_hops == 16


def test_a_second_socket_is_a_second_hop() -> None:
    assert [reach(net("pcie", 8), cards).diameter_hops for cards in (2, 4, 8)] == [1, 1, 2]


@given(
    topology=st.sampled_from(sorted(TOPOLOGIES)),
    group=st.sampled_from([2, 3, 4, 8, 16, 32, 64]),
    stride=st.sampled_from([1, 2, 4]),
)
def test_every_reach_is_sane(topology: str, group: int, stride: int) -> None:
    seen = reach(net(topology, 4096), group, stride)
    bandwidth = SWITCH.bandwidth_bytes_per_s
    for rate in (seen.ring_bytes_per_s, seen.uniform_bytes_per_s, seen.pair_bytes_per_s):
        assert 0 < rate <= bandwidth * (1 + 1e-12)
    assert seen.bisection_bytes_per_s > 0
    assert 1 <= seen.neighbour_hops <= seen.diameter_hops
    assert 1 <= seen.mean_hops <= seen.diameter_hops


def test_unknown_topology_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="torus2d"):
        reach(net("torus", 8), 4)


def test_extents_must_make_the_domain() -> None:
    with pytest.raises(InputError, match="3 extents whose product"):
        reach(net("torus3d", 64, (4, 4)), 8)
