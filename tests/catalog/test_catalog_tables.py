"""Memory technologies, links, money and carbon: every row of the sources is there, with its figure."""

import pytest

from tokenroof.catalog.catalog import load

CATALOG = load()

MEMORIES = [  # row, field, value in base units
    ("hbm2", "bandwidth_bytes_per_s", 256e9),
    ("hbm2e", "bandwidth_bytes_per_s", 460e9),
    ("hbm3", "bandwidth_bytes_per_s", 819e9),
    ("hbm3", "energy_j_per_byte", 28e-12),
    ("hbm3e", "power_w", 30.0),
    ("hbm4", "bus_width_count", 2048.0),
    ("hbm4-6400", "bandwidth_bytes_per_s", 1.638e12),
    ("ddr5", "read_latency_s", 90e-9),
    ("lpddr5x", "grace_bandwidth_bytes_per_s", 512e9),
    ("gddr6", "bandwidth_bytes_per_s", 64e9),
    ("gddr7", "bandwidth_bytes_per_s", 128e9),
    ("hbf1", "capacity_bytes", 512e9),
    ("hbf2", "capacity_bytes", 1e12),
    ("hbf3", "bandwidth_bytes_per_s", 3.2e12),
    ("hbf-ma-patterson", "page_bytes", 4096.0),
    ("hbf-h3", "read_latency_s", 20e-6),
    ("hbf-hot-cold", "energy_j_per_byte", 160e-12),
    ("hbf-son", "program_latency_s", 100e-6),
    ("hbf-flashaccel", "planes_per_die_count", 96.0),
    ("kioxia-flash-module", "capacity_bytes", 5e12),
    ("nand-slc", "read_latency_s", 30e-6),
    ("nand-tlc", "program_latency_s", 700e-6),
    ("nand-qlc", "read_latency_s", 120e-6),
    ("z-nand", "read_latency_s", 3e-6),
    ("xl-flash", "bandwidth_bytes_per_s", 262e9),
    ("nvme-pcie4", "bandwidth_bytes_per_s", 7e9),
    ("nvme-pcie5", "reads_4k_per_s", 3e6),
    ("nvme-pcie6", "bandwidth_bytes_per_s", 28e9),
    ("cxl2-memory", "bandwidth_bytes_per_s", 64e9),
    ("cxl3-memory", "switch_hop_s", 70e-9),
    ("sram-bitcell", "n5_mm2", 0.021e-6),
    ("sram-macro", "n2_bytes_per_mm2", 38.1e6 / 8),
    ("sram-local", "energy_j_per_byte", 0.8e-12),
    ("sram-llmcompass", "phy_nvlink4_link_mm2", 0.965),
    ("dram3d-liminal", "bandwidth_bytes_per_s", 30e12),
    ("dram3d-hybrid-bond", "energy_j_per_byte", 7.04e-12),
    ("dram3d-memory-on-logic", "throughput_ratio", 64.0),
    ("dram3d-atlas", "simulation_error_fraction", 0.0857),
    ("dram3d-thermal", "junction_degc", 85.0),
    ("hbm-pim", "internal_bytes_per_s", 1.229e12),
    ("gddr6-aim", "internal_bytes_per_s", 512e9),
    ("cxl-pnm", "bandwidth_bytes_per_s", 1.1e12),
    ("axdimm", "speedup_ratio", 2.0),
    ("pim-gemv-measured", "hbm_pim_four_modules_s", 13e-6),
    ("pim-ma-patterson", "shard_bytes", 48e6),
    ("pnm-ma-patterson", "bandwidth_per_watt_ratio", 3.0),
    ("liminal-xpu-hbm3", "bandwidth_bytes_per_s", 4 * 2**40),
    ("liminal-outcomes", "tp128_ctx_128k_tokens_per_s", 743.0),
]

LINKS = [  # row (facts spelling), bandwidth one direction in bytes/s
    ("nvlink3", 300e9),
    ("nvlink4", 450e9),
    ("nvlink5", 900e9),
    ("nvlink6", 1800e9),
    ("nvlink_c2c", 450e9),
    ("pcie4_x16", 32e9),
    ("pcie5_x16", 64e9),
    ("pcie6_x16", 128e9),
    ("ib_hdr200", 25e9),
    ("ib_ndr400", 50e9),
    ("ib_xdr800", 100e9),
    ("roce_400", 50e9),
    ("roce_800", 100e9),
    ("cx9_1600", 200e9),
    ("ualink_200G", 100e9),
    ("infinity_fabric_mi300", 448e9),
    ("infinity_fabric_mi355", 537.6e9),
    ("tpu_ici_v4", 6 * 45e9),
    ("tpu_ici_v5e", 4 * 45e9),
    ("tpu_ici_v5p", 6 * 90e9),
    ("tpu_ici_v6e", 4 * 90e9),
    ("tpu_ici_v7", 6 * 100e9),
    ("tpu_ici_v8", 1.2e12),
    ("neuronlink_v3", 0.64e12),
    ("neuronlink_v4", 1.28e12),
    ("cxl2_x16", 64e9),
    ("cxl3_x16", 128e9),
]


@pytest.mark.parametrize(("name", "field", "value"), MEMORIES)
def test_memory_technology(name, field, value):
    assert CATALOG.memory(name).fields[field].value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("name", "value"), LINKS)
def test_link_bandwidth_is_one_direction(name, value):
    assert CATALOG.link(name).fields["bandwidth_bytes_per_s"].value == pytest.approx(value, rel=1e-9)


def test_switch_topology_and_latency_rows():
    switch = CATALOG.link("nvswitch3").fields
    assert switch["chip_bytes_per_s"].value == pytest.approx(7.2e12 / 8)
    assert CATALOG.link("ucie-advanced").fields["density_bytes_per_s_per_mm"].value == pytest.approx(165e9)
    assert CATALOG.link("fibre").fields["delay_s_per_m"].value == pytest.approx(5e-9)
    assert CATALOG.link("topology-torus3d").fields["diameter_16x16x16_count"].value == 24
    assert CATALOG.link("topology-nvl72").fields["switches_count"].value == 18
    readings = CATALOG.link("nvlink-p2p-readings").fields
    assert readings["aiconfigurator_default_s"].value == pytest.approx(10e-6)
    assert CATALOG.link("all-reduce-16kib").fields["h100_x8_trtllm_s"].value == pytest.approx(3.6e-6)
    assert CATALOG.link("all-reduce-vidur").fields["h100_tp8_64mib_s"].value == pytest.approx(322e-6)


@pytest.mark.parametrize("name", CATALOG.memories())
def test_projected_memories_say_so(name):
    row = CATALOG.memory(name)
    if row.kind in {"hbf", "dram3d", "pim", "pnm"} and any(
        q.claim == "projection" for q in row.fields.values()
    ):
        assert row.projection


FIGURES = [
    ("pue", "google_2025", 1.09),
    ("pue", "liquid_cooled_planning", 1.15),
    ("electricity", "us_industrial_2024", 0.082),
    ("electricity", "eu_non_household_2024", 0.18),
    ("colocation", "wholesale", 135.0),
    ("all_in_power", "h100", 1730.0),
    ("all_in_power", "mi355x", 2650.0),
    ("server_overhead", "h100", 2.47),
    ("server_overhead", "google_server_side", 1.6),
    ("server_power_shares", "accelerators", 0.58),
    ("rack_power", "gb200_nvl72", 126e3),
    ("capital", "h100_cluster_per_gpu_usd", 50e3),
    ("capital", "gb200_nvl72_rack_usd", 5e6),
    ("capital", "datacentre_per_it_usd_per_w", 12.0),
    ("amortisation", "gpu_server_meta_years", 5.5),
    ("amortisation", "carbon_gpu_years", 3.5),
    ("amortisation", "wacc_fraction", 0.1),
    ("embodied", "hgx_b200_board", 2274.0),
    ("embodied", "tpu_v6e", 692.0),
    ("embodied_intensity", "hgx_h100_kgco2e_per_flop", 0.66e-21),
    ("grid", "france_2024", 0.044),
    ("grid", "world_iea_2024", 0.445),
    ("api_prices", "deepseek_r1_crusoe_output", 5.4),
    ("benchmark_cost", "b200_trtllm_fp4_output_125_per_user", 4.0),
    ("reference_mfu", "blis_h100_prefill", 0.45),
    ("reference_overheads", "aiconfigurator_other_bytes", 3758096384.0),
    ("power_model", "rtx_pro_6000_active_w", 600.0),
]


@pytest.mark.parametrize(("group", "name", "value"), FIGURES)
def test_economics_figure(group, name, value):
    assert CATALOG.economics().groups[group][name].value == pytest.approx(value, rel=1e-9)


def test_the_overhead_factors_are_all_in_power_over_tdp():
    groups = CATALOG.economics().groups
    for name, factor in groups["server_overhead"].items():
        if name in groups["all_in_power"]:
            chip = CATALOG.chip(name)
            assert factor.value == pytest.approx(
                groups["all_in_power"][name].value / chip.tdp_w.value, rel=5e-3
            )
            assert chip.all_in_power_w.value == groups["all_in_power"][name].value


def test_sketches_keep_both_readings_of_flash_latency_and_say_projection():
    hbf = CATALOG.chip("h200-hbf").memory[1]
    assert (hbf.read_latency_s.low, hbf.read_latency_s.high) == (pytest.approx(1e-6), pytest.approx(50e-6))
    assert hbf.page_bytes == 4096
    # The buffer holds twice bandwidth x latency at the nominal latency; at four times it, half remains.
    full = hbf.bandwidth_bytes_per_s.value
    assert hbf.outstanding_bytes == pytest.approx(2 * full * hbf.read_latency_s.value, rel=1e-3)
    for name in ("h200-hbf", "decode-pnm", "decode-3d"):
        chip = CATALOG.chip(name)
        assert chip.projection
        assert chip.notes
        assert chip.memory[-1].bandwidth_bytes_per_s.low < chip.memory[-1].bandwidth_bytes_per_s.value
    pnm, standard = CATALOG.chip("decode-pnm"), CATALOG.memory("hbm4-6400").fields
    gain = pnm.memory[0].bandwidth_bytes_per_s.value / 6 / standard["bandwidth_bytes_per_s"].value
    assert pnm.memory[0].near_compute
    assert 2.0 <= gain <= 5.0


def test_every_limit_of_an_engine_says_where_it_comes_from() -> None:
    catalog = CATALOG
    for name in catalog.engines():
        engine = catalog.engine(name)
        stated = (
            engine.memory_fraction,
            engine.block_tokens,
            engine.max_num_batched_tokens,
            engine.max_num_seqs,
        )
        assert tuple(quantity.value for quantity in engine.settings.values()) == stated
        assert all(catalog.source(quantity.source).citation for quantity in engine.settings.values())
