"""The packaged catalog: complete, sourced, and free of figures known to be wrong."""

from pathlib import Path

import pytest
import yaml

from tokenroof.catalog.build import quantities
from tokenroof.catalog.catalog import PACKAGED, Kind, load
from tokenroof.catalog.core import Claim, OperandKind

CATALOG = load()
FIGURES = [
    line.split()
    for line in Path(__file__).with_name("accelerators.txt").read_text().splitlines()
    if not line.startswith("#")
]
SKETCHES = {"h200-hbf", "decode-pnm", "decode-3d"}
READERS = {
    Kind.CHIP: CATALOG.chip,
    Kind.MEMORY: CATALOG.memory,
    Kind.LINK: CATALOG.link,
    Kind.NODE: CATALOG.node,
    Kind.ENGINE: CATALOG.engine,
}
EVERYTHING = [(kind, name) for kind in READERS for name in CATALOG.names(kind)]


def raw_quantities(node, trail=()):
    """(path, mapping) of everything in a file that has a value."""
    if isinstance(node, dict):
        if "value" in node:
            yield trail, node
        else:
            for key, value in node.items():
                yield from raw_quantities(value, (*trail, key))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from raw_quantities(value, (*trail, position))


DATA_FILES = sorted([*(PACKAGED / "chips").glob("*.yaml"), *PACKAGED.glob("*.yaml")])


@pytest.mark.parametrize("path", DATA_FILES, ids=lambda path: path.stem)
def test_every_number_in_a_file_has_source_and_claim(path):
    for trail, given in raw_quantities(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert given.get("source") in CATALOG.sources(), (trail, given)
        assert given.get("claim") in set(Claim), (trail, given)
        assert isinstance(given["value"], str | int | float), (trail, given)


@pytest.mark.parametrize("path", DATA_FILES, ids=lambda path: path.stem)
def test_no_number_stands_alone(path):
    """A unit string outside of a quantity would be the shorthand that only users may write."""
    text = yaml.safe_load(path.read_text(encoding="utf-8"))
    bare = {"year", "domain_size", "chips_per_node"}

    def walk(node, key=""):
        if isinstance(node, dict) and "value" not in node:
            for name, value in node.items():
                walk(value, name)
        elif isinstance(node, list):
            assert key in {"dims", "scale_up_dims", "notes", "holds", "ends", "links"}, (key, node)
        elif isinstance(node, int | float) and not isinstance(node, bool):
            assert key in bare, (key, node)

    walk(text)


@pytest.mark.parametrize(("kind", "name"), EVERYTHING, ids=lambda value: str(value))
def test_every_row_loads_with_units_and_known_sources(kind, name):
    found = list(quantities(READERS[kind](name)))
    for quantity in found:
        assert quantity.unit
        assert CATALOG.source(quantity.source).citation
        assert quantity.source != "user"
        if quantity.source == "recalled":
            assert "recalled" in quantity.note or quantity.claim in {Claim.ASSUMPTION, Claim.PROJECTION}, (
                quantity
            )


def test_every_economics_figure_has_a_known_source():
    groups = CATALOG.economics().groups
    assert {"pue", "electricity", "colocation", "capital", "amortisation", "embodied", "grid"} <= set(groups)
    assert {"server_overhead", "api_prices", "all_in_power", "rack_power"} <= set(groups)
    for figures in groups.values():
        for quantity in figures.values():
            assert CATALOG.source(quantity.source).citation
    assert len(groups["grid"]) == 15
    assert groups["grid"]["world_2024"].value == pytest.approx(0.473)
    assert groups["pue"]["industry_latest"].value == 1.54
    assert groups["embodied"]["h100"].value == 164.0
    assert groups["amortisation"]["gpu_server_conservative_years"].value == pytest.approx(3.0)


# Boards of other people's benchmarks: dense 16-bit peak [TFLOP/s], first memory [GB, GB/s], TDP [W].
BOARDS = {
    "a10g": (70, 24, 600, 300),
    "a800": (312, 80, 2039, 400),
    "arc-b70": (183.5, 32, 608, 230),
    "gh200-96gb": (989.4, 96, 4000, 1000),
    "h20-141gb": (148, 141, 4800, 400),
    "h200-nvl": (835.5, 141, 4800, 600),
    "l20": (119.5, 48, 864, 275),
    "l40": (181, 48, 864, 300),
    "rtx-6000-ada": (364.2, 48, 960, 300),
    "rtx-pro-4500": (219.7, 32, 800, 165),
    "rtx-pro-6000-workstation": (503.8, 96, 1792, 600),
    "rtx3090": (71.2, 24, 936, 350),
    "rtx5080": (112.6, 16, 960, 360),
    "v100-16gb": (125, 16, 900, 300),
}


def test_sixty_accelerators_their_other_boards_and_three_sketches():
    assert len(FIGURES) == 60
    names = {CATALOG.chip(row[0]).name for row in FIGURES}
    assert names | set(BOARDS) | SKETCHES == set(CATALOG.chips())
    assert len(names) == 60


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_has_the_figures_it_is_sold_with(name):
    chip, (sixteen, capacity, bandwidth, tdp) = CATALOG.chip(name), BOARDS[name]
    assert chip.peak_flop_per_s["bf16"].value == pytest.approx(sixteen * 1e12)
    assert chip.memory[0].marketed_capacity_bytes.value == pytest.approx(capacity * 1e9)
    assert chip.memory[0].bandwidth_bytes_per_s.value == pytest.approx(bandwidth * 1e9)
    assert chip.tdp_w.value == pytest.approx(tdp)


# Where the catalog says something else than the table, and why (notes of the chip tell).
CORRECTED = {
    ("gb200_nvl72", "capacity"): 186.0,  # datasheet; 192 in InferenceX
    ("rtx_pro_6000", "bandwidth"): 1597.0,  # server edition; 1792 is the workstation card
    ("groq_lp30", "fp8"): 1230.0,  # 315 PFLOPS over 256 chips
    ("groq_lp30", "scale_up"): 1250.0,  # 2.5 TB/s both directions
    ("wse3", "16-bit"): 15800.0,  # derived, the headline counts sparsity
    ("tpu_v7", "capacity"): 206.158,  # 192 GiB
}
PCIE_ONLY = {"a10", "l40s", "l4", "rtx4090", "rtx5090", "rtx_pro_6000", "arc_b60"}


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row[0])
def test_accelerator_has_its_published_figures(row):
    facts_id, *texts = row
    chip = CATALOG.chip(facts_id)
    tier, peaks, up = chip.memory[0], chip.peak_flop_per_s, chip.scale_up
    sixteen = peaks.get("bf16") or peaks.get("fp16")
    found = {
        "16-bit": sixteen and sixteen.value / 1e12,
        "fp8": peaks["fp8"].value / 1e12 if "fp8" in peaks else None,
        "fp4": peaks["fp4"].value / 1e12 if "fp4" in peaks else None,
        "capacity": tier.marketed_capacity_bytes.value / 1e9,
        "bandwidth": tier.bandwidth_bytes_per_s.value / 1e9,
        "scale_up": up and up.bandwidth_bytes_per_s.value / 1e9,
        "tdp": chip.tdp_w and chip.tdp_w.value,
    }
    for (name, value), text in zip(found.items(), texts, strict=True):
        if (facts_id, name) in CORRECTED:
            assert value == pytest.approx(CORRECTED[facts_id, name], rel=1e-3), name
        elif name == "scale_up" and facts_id in PCIE_ONLY:
            assert up.topology == "pcie"
        elif text == "-":
            assert value is None or (facts_id, name) == ("tpu_v6e", "fp8"), name
        else:
            assert value == pytest.approx(float(text), rel=1e-6), name


FAST_FP8 = {"vr200-nvl72", "trainium3"}  # fp8 units beyond twice bf16, by design


@pytest.mark.parametrize("name", CATALOG.chips())
def test_peaks_look_dense(name):
    peaks = {dtype: quantity.value for dtype, quantity in CATALOG.chip(name).peak_flop_per_s.items()}
    if {"bf16", "fp8"} <= set(peaks):
        assert peaks["fp8"] <= (5.0 if name in FAST_FP8 else 2.2) * peaks["bf16"]
    if {"fp8", "fp4"} <= set(peaks):
        fourfold = {"b300", "gb300-nvl72", "rtx5090", "rtx5080"}  # fp4 at three to four times fp8
        assert peaks["fp4"] <= (4.1 if name in fourfold else 2.2) * peaks["fp8"]
    if {"bf16", "fp16"} <= set(peaks):
        assert peaks["bf16"] == peaks["fp16"]


@pytest.mark.parametrize("name", CATALOG.chips())
def test_a_chip_is_whole(name):
    chip = CATALOG.chip(name)
    for kind in OperandKind:
        assert sum(kind in tier.holds for tier in chip.memory) == 1
    for tier in chip.memory:
        assert CATALOG.memory(tier.technology)
        assert 0.85 < tier.usable_capacity_bytes.value / tier.marketed_capacity_bytes.value < 1.1
        assert 0.05e-12 * 8 < tier.energy_j_per_byte.value < 60e-12 * 8
    for fabric in (chip.scale_up, chip.scale_out):
        if fabric is not None:
            assert CATALOG.link(fabric.link)
            assert fabric.hop_latency_s.value < fabric.software_latency_s.value < 1e-4
    if chip.relative:
        assert CATALOG.chip(chip.relative).name != name
    if chip.node:
        node = CATALOG.node(chip.node)
        if chip.scale_up is not None and chip.scale_up.domain_size == node.chips_per_node:
            assert node.scale_up_topology == chip.scale_up.topology
    if chip.tdp_w is not None and chip.all_in_power_w is not None:
        assert chip.all_in_power_w.value > chip.tdp_w.value


WRONG_ELSEWHERE = [  # chip, figure, value that some tool prints, in base units
    ("h100", "bf16", 1980e12),
    ("h100", "bandwidth", 3.43e12),
    ("h100", "scale_up", 900e9),
    ("a100", "scale_up", 150e9),
    ("gh200", "bf16", 1979e12),
    ("gb200", "bf16", 4500e12),
    ("gb200", "bandwidth", 13.4e12),
    ("l40s", "fp8", 1466e12),
    ("vr200", "fp4", 50e15),
    ("jetson-thor", "fp4", 2070e12),
    ("dgx-spark", "fp4", 1e15),
    ("mi355x", "scale_up", 576e9),
    ("trainium3", "bf16", 2517e12),
    ("tpu-v4", "scale_up", 24e9),
    ("wse3", "fp16", 125e15),
    ("v100", "fp16", 112e12),
    ("ascend-950pr", "bandwidth", 4e12),
    ("groq", "scale_up", 480e9),
    ("mi300x", "scale_up", 400e9),
    ("rtx4090", "fp8", 660.6e12),
]


@pytest.mark.parametrize(("name", "figure", "value"), WRONG_ELSEWHERE)
def test_figures_known_to_be_wrong_are_not_repeated(name, figure, value):
    chip = CATALOG.chip(name)
    if figure == "bandwidth":
        found = chip.memory[0].bandwidth_bytes_per_s.value
    elif figure == "scale_up":
        found = chip.scale_up.bandwidth_bytes_per_s.value
    else:
        found = chip.peak_flop_per_s[figure].value
    assert abs(found / value - 1) > 0.02


def test_marketed_and_usable_memory_differ_where_the_driver_says_so():
    h100, h200 = CATALOG.chip("h100").memory[0], CATALOG.chip("h200").memory[0]
    assert h100.marketed_capacity_bytes.value == 80e9
    assert 79.1 <= h100.usable_capacity_bytes.value / 2**30 <= 79.2
    assert h200.usable_capacity_bytes.high == pytest.approx(143771 * 2**20, rel=1e-3)
    assert h200.usable_capacity_bytes.claim is Claim.MEASURED


def test_vllm_budget_leaves_what_was_measured_for_llama_2_7b_on_one_h100():
    """7463 blocks of 16 tokens at 512 KiB and 13.48 GB of weights must fit under 0.9 of usable memory."""
    budget = (
        CATALOG.engine("vllm").memory_fraction * CATALOG.chip("h100").memory[0].usable_capacity_bytes.value
    )
    taken = 7463 * 16 * 524288 + 6738415616 * 2
    assert 0.0 < budget - taken < 1e9


def test_switches_that_reduce_are_generation_three_and_later():
    reduces = {name for name in CATALOG.chips() if _reduces(name)}
    assert {"h100", "h200", "b200", "gb200-nvl72"} <= reduces
    assert not {"a100", "v100", "mi300x", "tpu-v6e", "l40s"} & reduces


def _reduces(name):
    up = CATALOG.chip(name).scale_up
    return up is not None and up.in_network_reduction


def test_engines_follow_their_budget_rules():
    rules = {name: CATALOG.engine(name).budget_rule for name in CATALOG.engines()}
    assert rules == {
        "vllm": "utilization",
        "sglang": "static_fraction",
        "trtllm": "free_fraction",
        "generic": "all",
    }
    assert CATALOG.engine("vllm").block_tokens == 16
    assert CATALOG.engine("trtllm").block_tokens == 32


@pytest.mark.parametrize("name", CATALOG.nodes())
def test_a_node_says_what_is_linked_to_what(name):
    node = CATALOG.node(name)
    for link in node.links:
        assert CATALOG.link(link.link)
        assert link.ends[0] == "chip"
        assert link.bandwidth_bytes_per_s.value > 0
    assert CATALOG.source(node.source).citation
    if name in {"hgx-h100", "oam-mi300x", "gb200-nvl72", "tpu-v6e-pod"}:
        assert node.links
