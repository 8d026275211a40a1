"""A user's own files: extending, layering, and every way to get a file wrong."""

import json
import os
from pathlib import Path

import pytest

from tokenroof.catalog.catalog import Kind, directories_from_environment, load
from tokenroof.catalog.core import Claim, OperandKind
from tokenroof.errors import CatalogError, InputError, UnknownNameError


@pytest.fixture
def mine(tmp_path):
    """A user's catalog directory; call it with a name and text to add a chip, get the catalog back."""
    (tmp_path / "chips").mkdir()

    def add(name, text, *, mode="w"):
        path = tmp_path / "chips" / name
        if mode == "wb":
            path.write_bytes(text)
        else:
            path.write_text(text, encoding="utf-8")
        return load([tmp_path])

    return add


def test_a_short_file_says_what_differs(mine):
    chip = mine("fast.yaml", "extends: h200\ntitle: Mine\nmemory: {hbm: {bandwidth: 9 TB/s}}\n").chip("fast")
    parent = load().chip("h200")
    assert chip.title == "Mine"
    assert chip.memory[0].bandwidth_bytes_per_s.value == 9e12
    assert chip.memory[0].bandwidth_bytes_per_s.source == "user"
    assert chip.memory[0].bandwidth_bytes_per_s.claim is Claim.ASSUMPTION
    assert chip.memory[0].usable_capacity_bytes == parent.memory[0].usable_capacity_bytes
    assert chip.peak_flop_per_s == parent.peak_flop_per_s


def test_a_chip_borrows_measurements_from_what_it_extends(mine):
    mine("fast.yaml", "extends: h100\ntitle: Mine\n")
    mine("faster.yaml", "extends: fast\n")
    mine("h200.yaml", "extends: h200\ntdp: 600 W\n")
    mine("other.yaml", "extends: h200\n")
    mine("sketch.yaml", "extends: decode-pnm\n")
    found = mine("stated.yaml", "extends: h100\nrelative: b200\n")
    assert {name: found.chip(name).relative for name in ("fast", "faster", "h200", "other")} == {
        "fast": "h100",
        "faster": "h100",
        "h200": load().chip("h200").relative,
        "other": "h200",
    }
    assert found.chip("stated").relative == "b200"
    assert found.chip("sketch").relative == load().chip("decode-pnm").relative


def test_a_new_marketed_capacity_drops_the_old_usable_one(mine):
    text = "extends: h200\nmemory: {hbm: {marketed_capacity: 288 GB}}\n"
    tier = mine("big.yaml", text).chip("big").memory[0]
    assert tier.usable_capacity_bytes.value == 288e9
    assert tier.usable_capacity_bytes.claim is Claim.ASSUMPTION


def test_a_kind_lives_in_one_tier_and_moves_when_claimed(mine):
    text = (
        "extends: h200\nmemory:\n  flash:\n    {technology: hbf1, marketed_capacity: 1 TB, "
        "bandwidth: 3 TB/s, energy: 20 pJ/bit, holds: [weights]}\n"
    )
    hbm, flash = mine("tiered.yaml", text).chip("tiered").memory
    assert flash.holds == (OperandKind.WEIGHTS,)
    assert hbm.holds == (OperandKind.KV, OperandKind.STATE, OperandKind.ACTIVATIONS)


def test_memory_order_puts_a_new_tier_first(mine):
    text = (
        "extends: h200\nmemory_order: [sram, hbm]\nmemory:\n  sram: {technology: sram-global, "
        "marketed_capacity: 200 MB, bandwidth: 20 TB/s, energy: 0.5 pJ/bit, holds: [activations]}\n"
    )
    assert [tier.name for tier in mine("near.yaml", text).chip("near").memory] == ["sram", "hbm"]


def test_null_removes(mine):
    chip = mine("lone.yaml", "extends: h100\nscale_up: null\npeak: {fp8: null}\nprices: null\n").chip("lone")
    assert chip.scale_up is None
    assert "fp8" not in chip.peak_flop_per_s
    assert chip.prices_usd_per_hour == {}


def test_a_chip_may_extend_the_packaged_one_of_its_own_name(mine):
    catalog = mine("h200.yaml", "extends: h200\ntdp: 600 W\n")
    assert catalog.chip("h200").tdp_w.value == 600.0
    assert catalog.chip("h200-sxm5").tdp_w.value == 600.0
    assert load().chip("h200").tdp_w.value == 700.0
    assert catalog.chips() == load().chips()


def test_extensions_chain(mine):
    mine("a.yaml", "extends: h200\ntdp: 600 W\n")
    chip = mine("b.yaml", "extends: a\nyear: 2027\n").chip("b")
    assert (chip.tdp_w.value, chip.year) == (600.0, 2027)


def test_a_path_to_a_chip_file_is_a_chip(tmp_path):
    path = tmp_path / "My_Chip.yaml"
    path.write_text("extends: b200\npeak: {bf16: 3 PFLOP/s}\n", encoding="utf-8")
    chip = load().chip(str(path))
    assert chip.name == "my-chip"
    assert chip.peak_flop_per_s["bf16"].value == 3e15


def test_tables_and_economics_are_laid_over(tmp_path):
    (tmp_path / "engines.yaml").write_text((Path(load().directories[0]) / "engines.yaml").read_text())
    (tmp_path / "economics.yaml").write_text("grid: {my_site: 12 gCO2e/kWh}\npue: {industry_latest: 1.2}\n")
    (tmp_path / "aliases.yaml").write_text("chip: {workhorse: h100}\n")
    (tmp_path / "sources.yaml").write_text("my-lab: {citation: measured here}\n")
    (tmp_path / "links.yaml").write_text(
        "myfabric: {title: Mine, kind: own, fields: {bandwidth_bytes_per_s: {value: 1 TB/s, source: my-lab, "
        "claim: measured}}}\n"
    )
    catalog = load([tmp_path])
    groups = catalog.economics().groups
    assert groups["grid"]["my_site"].value == pytest.approx(0.012)
    assert groups["grid"]["world_2024"].value == pytest.approx(0.473)
    assert groups["pue"]["industry_latest"].value == 1.2
    assert catalog.chip("workhorse").name == "h100"
    assert catalog.link("myfabric").fields["bandwidth_bytes_per_s"].source == "my-lab"


H = "extends: h200\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (H + "memory: {hbm: {bandwidth: 3.35 TB}}", "got '3.35 TB'. Write '3.35 TB/s'."),
        (H + "memory: {hbm: {bandwidth: 5}}", "expected bytes/s, got '5'"),
        (H + "memory: {hbm: {bandwith: 5 TB/s}}", "bad.memory.hbm: unknown field 'bandwith'"),
        (H + "memmory: {}", "bad: unknown field 'memmory'. Nearest: memory"),
        (H + "peak: {bf16: {value: 1 PFLOP/s, sourc: aic}}", "unknown field 'sourc'. Nearest: source"),
        (H + "peak: {bf16: {source: aic}}", "a mapping without 'value'"),
        (H + "peak: {bf16: {value: 1 PFLOP/s, source: aicc}}", "unknown source 'aicc'. Nearest: aic"),
        (H + "peak: {bf16: {value: 1 PFLOP/s, claim: guess}}", "unknown claim 'guess'"),
        (H + "peak: {bf16: {value: 1 PFLOP/s, low: 2 PFLOP/s}}", "outside its own range"),
        (H + "peak: {bf16: 0 PFLOP/s}", "expected more than 0 flop/s"),
        (H + "peak: {bf16: -1 PFLOP/s}", "negative"),
        (H + "peak: {bf17: 1 PFLOP/s}", "bad.peak"),
        (H + "compute_units: 1.5", "expected a whole number"),
        (H + "year: soon", "bad.year"),
        (H + "scale_up: {topology: torus2d}", "bad.scale_up.dims: expected 2 extents"),
        (H + "scale_up: {topology: star}", "bad.scale_up.topology"),
        (H + "scale_up: {domain_size: 1}", "two chips or more"),
        (H + "memory: {hbm: {holds: [weights, weight]}}", "bad.memory.hbm.holds"),
        (H + "memory: {hbm: {holds: [weights, kv, state]}}", "activations is held by no tier"),
        (H + "memory: {hbm: null}", "at least one memory tier"),
        (H + "memory: null", "bad.memory: missing"),
        (H + "memory_order: [hbf]", "memory_order: expected each of hbm once"),
        (H + "memory: {hbm: {outstanding: 1 MB}}", "needs read_latency"),
        (H + "relative: h1000", "bad.relative: unknown chip 'h1000'"),
        ("extends: h2000", "bad.extends: unknown chip 'h2000'. Nearest: h200"),
        ("extends: [h200]", "bad.extends: expected the name of a chip"),
        ("extends: bad", "goes in a circle (bad -> bad)"),
        ("title: alone", "bad.vendor: missing"),
        ("title: [\n", "not valid YAML"),
        ("- a\n- b\n", "expected 'field: value' lines, got list"),
        ("1: a", "expected names as keys, got 1"),
        ("extends: h200\nextends: h100\n", "'extends' appears twice (line 2)"),
        ("", "empty"),
        ("   \n", "empty"),
        ("title: !!python/object:os.system x", "not valid YAML"),
        ("x: " + "[" * 3000 + "]" * 3000, "nested deeper"),
        ("x: 2026-13-45", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_one_clear_line(mine, text, message):
    catalog = mine("bad.yaml", text)
    with pytest.raises(CatalogError) as caught:
        catalog.chip("bad")
    assert message in str(caught.value)
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_message_names_file_chip_and_field(mine, tmp_path):
    catalog = mine("nvidia.yaml", H + "memory: {hbm: {bandwidth: 3.35 TB}}")
    with pytest.raises(CatalogError) as caught:
        catalog.chip("nvidia")
    assert str(caught.value) == (
        f"{tmp_path}/chips/nvidia.yaml: nvidia.memory.hbm.bandwidth: "
        "expected bytes/s, got '3.35 TB'. Write '3.35 TB/s'."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"title: a\0b", "zero bytes"),
        (b"# " + b"x" * 2_000_001, "at most 2000000"),
    ],
)
def test_binary_and_huge_files_are_refused(mine, content, message):
    catalog = mine("bad.yaml", content, mode="wb")
    with pytest.raises(CatalogError, match=message):
        catalog.chip("bad")


def test_a_longer_circle_is_found(mine):
    mine("a.yaml", "extends: b\n")
    catalog = mine("b.yaml", "extends: a\n")
    with pytest.raises(CatalogError, match=r"circle \(a -> b -> a\)"):
        catalog.chip("a")


def test_a_fault_of_the_parent_is_reported_as_its_own(mine):
    mine("parent.yaml", "extends: h200\ntdp: 700\n")
    catalog = mine("child.yaml", "extends: parent\ntdp: 600 W\n")
    with pytest.raises(CatalogError, match=r"parent\.yaml: parent\.tdp: expected W"):
        catalog.chip("child")


def test_two_files_of_one_name_are_refused(mine):
    mine("My_Chip.yaml", "extends: h200\n")
    catalog = mine("my-chip.yml", "extends: h100\n")
    with pytest.raises(CatalogError, match="also defined by"):
        catalog.chip("my-chip")


def test_a_missing_chip_file_and_directory_are_input_errors(tmp_path):
    with pytest.raises(CatalogError, match="cannot be read"):
        load().chip(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(InputError, match="no catalog directory"):
        load([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON (line 1"),
        ('{"config": 1, "config": 2}', "'config' appears twice"),
        ('{"config": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper"),
        ('{"config": 3}', "expected 'config' and 'stated' to hold fields"),
        ("[]", "expected 'field: value' lines, got list"),
    ],
)
def test_a_malformed_model_file_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bad.json").write_text(text)
    with pytest.raises(CatalogError) as caught:
        load([tmp_path]).model("bad")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_is_found_by_name_id_and_path(tmp_path):
    catalog = load()
    by_name = catalog.model("llama-3.3-70b")
    assert catalog.model("meta-llama/Llama-3.3-70B-Instruct") is by_name
    packaged = json.loads((catalog.directories[0] / "models" / "llama-3.3-70b.json").read_text())
    folder = tmp_path / "My-Llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(packaged["config"]))
    for given in (folder, folder / "config.json"):
        model = catalog.model(str(given))
        assert model.name == "my-llama"
        assert model.layers == by_name.layers
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "plain.json").write_text(json.dumps(packaged["config"]))
    assert load([tmp_path]).model("plain").layers == by_name.layers
    with pytest.raises(UnknownNameError, match=r"unknown model 'lama-3\.3-70b'"):
        catalog.model("lama-3.3-70b")


def test_names_in_tables_are_lower_case(tmp_path):
    (tmp_path / "links.yaml").write_text("My_Link: {title: x}\n")
    with pytest.raises(CatalogError, match="Write 'my-link'"):
        load([tmp_path]).links()


def test_a_bad_alias_group_is_refused(tmp_path):
    (tmp_path / "aliases.yaml").write_text("chps: {a: h100}\n")
    with pytest.raises(CatalogError, match=r"aliases\.yaml: chps"):
        load([tmp_path]).chip("no-such-chip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: {x: 12 W}", "grid.x: expected kgCO2e/kWh, got '12 W'"),
        ("grid: 12", "grid: expected named figures"),
        ("mine: {thing: 12 W}", "does not end in a unit"),
    ],
)
def test_bad_economics_name_group_and_figure(tmp_path, text, message):
    (tmp_path / "economics.yaml").write_text(text)
    with pytest.raises(CatalogError, match=r"economics\.yaml") as caught:
        load([tmp_path]).economics()
    assert message in str(caught.value)


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown chip 'h10o'\. Nearest: h100"):
        load().chip("h10o")
    with pytest.raises(UnknownNameError, match=r"unknown engine 'vlm'\. Nearest: vllm"):
        load().engine("vlm")


def test_aliases_and_spellings():
    catalog = load()
    for spelling in ("h100", "H100_SXM", "h100-sxm5", "H100 80GB"):
        assert catalog.chip(spelling).name == "h100"
    assert catalog.chip("gb200").name == "gb200-nvl72"
    assert catalog.chip("trillium").name == "tpu-v6e"
    assert catalog.chip("rubin").projection
    for kind in Kind:
        for alias, name in catalog.aliases(kind).items():
            assert catalog.resolve(kind, alias) == name


def test_search_looks_at_names_titles_and_vendors():
    catalog = load()
    assert {"mi300x", "mi355x"} <= set(catalog.search("amd"))
    assert catalog.search("nvidia hbm3e blackwell") == ("b200", "b300", "gb200-nvl72", "gb300-nvl72")
    assert "tpu-v6e" in catalog.search("trilium")
    assert "hbf1" in catalog.search("flash", Kind.MEMORY)
    assert catalog.search("no such thing at all") == ()


def test_the_environment_names_directories():
    given = os.pathsep.join(["/a", "", "/b"])
    assert directories_from_environment({"TOKENROOF_CATALOG": given}) == (Path("/a"), Path("/b"))
    assert directories_from_environment({}) == ()


def test_the_packaged_catalog_is_shared_and_items_are_read_once():
    assert load() is load()
    assert load().chip("h100") is load().chip("H100")


def test_a_misspelt_figure_of_an_engine_is_refused(tmp_path):
    shipped = (Path(load().directories[0]) / "engines.yaml").read_text(encoding="utf-8")
    (tmp_path / "engines.yaml").write_text(shipped.replace("  runtime:", "  runtimes:"), encoding="utf-8")
    with pytest.raises(CatalogError, match=r"runtimes.*runtime"):
        load([tmp_path]).engine("vllm")


def test_figures_of_an_engine_keep_their_source():
    engine = load().engine("vllm")
    assert {q.source for q in (engine.runtime_bytes, engine.sampler_bytes_per_logit)} == {"llm-d-memory"}
    assert engine.sampler_bytes_per_logit.value == 38.4
    assert engine.communicator_bytes.claim is Claim.MEASURED
