"""Small machines for the collective tests: fabrics without measurements."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.catalog.efficiency import EfficiencySet, OpEfficiency
from tokenroof.perf.core import Machine, Net

SWITCH = Net(
    name="switch",
    topology="nvswitch",
    domain_size=8,
    bandwidth_bytes_per_s=450e9,
    hop_latency_s=3e-7,
    software_latency_s=5e-6,
    energy_j_per_byte=6e-11,
    in_network_reduction=True,
)
NIC = Net(
    name="nic",
    topology="fat_tree",
    domain_size=4096,
    bandwidth_bytes_per_s=50e9,
    hop_latency_s=1e-6,
    software_latency_s=1e-5,
    energy_j_per_byte=3e-10,
)


def net(topology: str, domain_size: int, dims: tuple[int, ...] = (), **changes: object) -> Net:
    return replace(
        SWITCH,
        name=topology,
        topology=topology,
        domain_size=domain_size,
        dims=dims,
        in_network_reduction=False,
        **changes,
    )


def machine(
    scale_up: Net | None = SWITCH,
    scale_out: Net | None = NIC,
    rows: tuple[OpEfficiency, ...] = (),
    exposed: float = 1.0,
) -> Machine:
    return Machine(
        name="toy",
        peak_flop_per_s={"bf16": 1e15},
        compute_units=1,
        cache_bytes=0.0,
        tiers=(),
        placement={},
        scale_up=scale_up,
        scale_out=scale_out,
        efficiency=EfficiencySet(rows={(row.op, row.dtype): row for row in rows}, borrowed=()),
        idle_w=0.0,
        tdp_w=1.0,
        energy_j_per_flop={},
        step_overhead_s=0.0,
        exposed_collective_fraction=exposed,
    )
