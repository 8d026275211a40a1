"""The nouns of the catalog: where a number comes from, and the hardware it describes.

Everything here is a frozen value in base units (flop/s, bytes, bytes/s, s, W, J, USD, kgCO2e).
Peaks are dense datasheet peaks; what fraction of them is reached lives apart, in
``tokenroof.catalog.efficiency``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.tuning import NEUTRAL, Tuning


class Claim(StrEnum):
    """How a number is known, from the firmest to the loosest."""

    MEASURED = "measured"
    DATASHEET = "datasheet"
    PAPER = "paper"
    ASSUMPTION = "assumption"
    PROJECTION = "projection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One catalog number with its address.

    Attributes
    ----------
    value : float
        In base units.
    unit : str
        The base unit of ``value`` ("flop/s", "bytes", "bytes/s", "s", "W", "USD/h", ...).
    source : str
        Identifier of a row of ``sources.yaml``.
    claim : Claim
        How the number is known.
    low, high : float or None
        Range when sources disagree or the figure is a projection; base units.
    note : str
        What a reader must know before relying on it.
    """

    value: float
    unit: str
    source: str
    claim: Claim
    low: float | None = None
    high: float | None = None
    note: str = ""


class OperandKind(StrEnum):
    """What a byte of traffic belongs to; memory tiers say which kinds they hold."""

    WEIGHTS = "weights"
    KV = "kv"
    STATE = "state"
    ACTIVATIONS = "activations"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTier:
    """One memory of a chip. Tiers are ordered by distance from the compute units.

    Attributes
    ----------
    name : str
        Short name shown in breakdowns ("hbm", "hbf", "lpddr", "sram").
    technology : str
        Identifier of a memory technology row.
    marketed_capacity_bytes, usable_capacity_bytes : Quantity
        What the datasheet sells and what the driver reports. [bytes]
    bandwidth_bytes_per_s : Quantity
        Read bandwidth, one direction. [bytes/s]
    holds : tuple of OperandKind
        Operand kinds placed here by default.
    read_latency_s : Quantity or None
        Latency of one random access. [s]
    page_bytes : int or None
        Smallest read. A figure of the technology: weights and caches are read in runs far longer than
        a page, so that no time depends on it yet. [bytes]
    outstanding_bytes : float or None
        Bytes that can be in flight; caps bandwidth at ``outstanding/latency`` (Little's law). [bytes]
    energy_j_per_byte : Quantity
        Energy of moving one byte to the compute units. [J/byte]
    near_compute : bool
        Compute sits at this memory (PNM): bandwidth and energy are those inside it, for every operand
        placed here. What crosses the chip's main interface is not modelled; answers say so.
    """

    name: str
    technology: str
    marketed_capacity_bytes: Quantity
    usable_capacity_bytes: Quantity
    bandwidth_bytes_per_s: Quantity
    holds: tuple[OperandKind, ...]
    energy_j_per_byte: Quantity
    read_latency_s: Quantity | None = None
    page_bytes: int | None = None
    outstanding_bytes: float | None = None
    near_compute: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """A network that joins chips: which topology, at which bandwidth and latency.

    Attributes
    ----------
    name : str
        Short name shown in breakdowns ("nvlink4", "ib_ndr400").
    link : str
        Identifier of a link row.
    topology : str
        One of "nvswitch", "full_mesh", "ring", "torus2d", "torus3d", "fat_tree", "dragonfly", "pcie".
    domain_size : int
        Chips that this fabric joins.
    bandwidth_bytes_per_s : Quantity
        Per chip, one direction, all links together. [bytes/s]
    hop_latency_s : Quantity
        Wire and switch latency of one hop. [s]
    software_latency_s : Quantity
        Overhead of starting one collective, seen by software. [s]
    dims : tuple of int
        Extent of each torus axis; empty for switched fabrics.
    in_network_reduction : bool
        Switches can reduce (NVLS, SHARP).
    energy_j_per_byte : Quantity
        Energy of moving one byte over one link, both ends and switch. [J/byte]
    """

    name: str
    link: str
    topology: str
    domain_size: int
    bandwidth_bytes_per_s: Quantity
    hop_latency_s: Quantity
    software_latency_s: Quantity
    energy_j_per_byte: Quantity
    dims: tuple[int, ...] = ()
    in_network_reduction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One accelerator, existing or imagined.

    Attributes
    ----------
    name, title, vendor : str
        Identifier, display name, maker.
    year : int
        Year of general availability.
    family : str
        Architecture family ("hopper", "cdna3", "tpu"); efficiencies fall back along it.
    relative : str
        Chip whose measured efficiencies stand in when this one has none ("" = none).
    peak_flop_per_s : mapping of str to Quantity
        Dense peak by dtype ("bf16", "fp8", "fp4", "int8", "fp32", ...). [flop/s]
    compute_units : int
        SMs, CUs or cores: what tiles are scheduled on. 1 for monolithic arrays.
    cache_bytes : float
        Last-level cache. [bytes]
    memory : tuple of MemoryTier
        Nearest first.
    scale_up, scale_out : Fabric or None
        The fabric inside the fast domain, and the one between domains.
    host_link_bytes_per_s : Quantity or None
        Link to the host, one direction. [bytes/s]
    tdp_w : Quantity or None
        Board power limit. [W]
    all_in_power_w : Quantity or None
        Provisioned utility power per chip, host, network and cooling share included. [W]
    die_area_mm2 : Quantity or None
        Logic area. [mm2]
    embodied_kgco2e : Quantity or None
        Cradle-to-gate carbon of one chip and its board share. [kgCO2e]
    prices_usd_per_hour : mapping of str to Quantity
        "cloud_low", "cloud_median", "cloud_high", "own_hyperscaler", "own_neocloud", "rent_3yr". [USD/h]
    node : str
        Identifier of the node this chip is usually sold in.
    process : str
        Foundry process of the compute die.
    boost_clock_hz : Quantity or None
        Highest advertised clock. [Hz]
    efficiencies : tuple of OpEfficiency
        Fitted forms in order of precedence, the user's before the shipped ones; empty = the shipped ones.
    tuning : Tuning
        What measured servings add to the operators; neutral for a chip that comes from no catalog.
    on_chip : mapping of str to Quantity
        On-chip memories by field name with unit suffix ("l2_bytes", "smem_per_sm_bytes", ...).
    projection : bool
        The chip does not exist (yet); every result says so.
    notes : tuple of str
        Doubtful figures and what was read differently elsewhere.
    """

    name: str
    title: str
    vendor: str
    year: int
    family: str
    relative: str
    peak_flop_per_s: Mapping[str, Quantity]
    compute_units: int
    cache_bytes: float
    memory: tuple[MemoryTier, ...]
    scale_up: Fabric | None
    scale_out: Fabric | None
    host_link_bytes_per_s: Quantity | None
    tdp_w: Quantity | None
    all_in_power_w: Quantity | None
    die_area_mm2: Quantity | None
    embodied_kgco2e: Quantity | None
    prices_usd_per_hour: Mapping[str, Quantity]
    node: str
    process: str = ""
    boost_clock_hz: Quantity | None = None
    on_chip: Mapping[str, Quantity] = field(default_factory=dict)
    projection: bool = False
    notes: tuple[str, ...] = ()
    efficiencies: tuple[OpEfficiency, ...] = ()
    tuning: Tuning = NEUTRAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A serving engine: its memory budget rule, its batching rule and its fixed costs.

    Attributes
    ----------
    name : str
        "vllm", "sglang", "trtllm" or "generic".
    budget_rule : str
        How KV memory is sized: "utilization" (vLLM), "static_fraction" (SGLang),
        "free_fraction" (TensorRT-LLM) or "all" (generic).
    memory_fraction : float
        The rule's parameter, 0..1.
    block_tokens : int
        Tokens of one KV block.
    max_num_batched_tokens, max_num_seqs : int
        Token budget and sequence limit of a step.
    chunked_prefill : bool
        A prompt may be split over steps, mixed with decodes.
    step_overhead_s : Quantity
        Host time of one step that the device waits for. [s]
    context_bytes, graph_bytes : Quantity
        Device memory of the driver context, and of captured graphs. [bytes]
    runtime_bytes, communicator_bytes : Quantity
        Workspaces of libraries, and what is added when chips talk to each other. [bytes]
    sampler_bytes_per_logit : Quantity
        Scratch of sampling for each of ``max_num_seqs`` x vocabulary logits. [bytes]
    exposed_collective_fraction : Quantity
        Part of collective time not hidden behind compute, 0..1.
    kernels : str
        Framework whose measured kernels this engine runs ("vllm", "sglang", "trtllm").
    settings : mapping of str to Quantity
        Source, claim and range of the plain numbers above, by field name.
    """

    name: str
    budget_rule: str
    memory_fraction: float
    block_tokens: int
    max_num_batched_tokens: int
    max_num_seqs: int
    chunked_prefill: bool
    step_overhead_s: Quantity
    context_bytes: Quantity
    graph_bytes: Quantity
    runtime_bytes: Quantity
    communicator_bytes: Quantity
    sampler_bytes_per_logit: Quantity
    exposed_collective_fraction: Quantity
    kernels: str
    settings: Mapping[str, Quantity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLink:
    """One kind of connection inside or out of a node.

    Attributes
    ----------
    ends : tuple of two str
        What it joins: "chip", "switch", "host", "network", ...
    link : str
        Identifier of a link row.
    bandwidth_bytes_per_s : Quantity
        Per chip, one direction, all links of this kind together. [bytes/s]
    latency_s : Quantity
        One hop, wire and switch. [s]
    """

    ends: tuple[str, str]
    link: str
    bandwidth_bytes_per_s: Quantity
    latency_s: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What is sold as one box or rack: how many chips, joined how.

    Attributes
    ----------
    name, title : str
        Identifier and display name.
    form : str
        "board" (HGX/OAM), "rack" (NVL72), "pod" (TPU), "server" (PCIe).
    chips_per_node : int
        Accelerators in it.
    scale_up_topology : str
        Topology inside, as in ``Fabric.topology``.
    scale_up_dims : tuple of int
        Torus extents, empty when switched.
    links : tuple of NodeLink
        What is linked to what.
    host_power_w, power_w : Quantity or None
        Hosts' share, and the whole. [W]
    source : str
        Identifier of a row of ``sources.yaml``.
    """

    name: str
    title: str
    form: Literal["board", "rack", "pod", "server"]
    chips_per_node: int
    scale_up_topology: str
    scale_up_dims: tuple[int, ...]
    host_power_w: Quantity | None
    power_w: Quantity | None
    source: str
    links: tuple[NodeLink, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A catalog row of named quantities: a memory technology or a link.

    Attributes
    ----------
    name, title, kind : str
        Identifier, display name, sort of thing ("hbm", "hbf", "dram", "nvlink", "ethernet", ...).
    fields : mapping of str to Quantity
        By field name, unit suffix included ("bandwidth_bytes_per_s", "read_latency_s", ...).
    notes : tuple of str
        Doubtful figures and readings.
    """

    name: str
    title: str
    kind: str
    fields: Mapping[str, Quantity]
    projection: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Economics:
    """Money, energy and carbon figures by group ("pue", "electricity", "grid", "embodied", ...)."""

    groups: Mapping[str, Mapping[str, Quantity]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where numbers come from: an identifier, a citation, an address, a licence, a date."""

    id: str
    citation: str
    url: str = ""
    licence: str = ""
    date: str = ""
