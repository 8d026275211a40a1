"""Chips by the names that drivers, people and benchmark databases use; contradictions are refused."""

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.chip_names import read_chip_name
from tokenroof.errors import InputError, UnknownNameError

CATALOG = load()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("H200-SXM-141GB", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("H100_SXM", "h100"),
        ("H100SXM5", "h100"),
        ("h100-sxm5-80gb", "h100"),
        ("DGX H100", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("H100-NVL-94GB", "h100-nvl"),
        ("NVIDIA H200 NVL", "h200-nvl"),
        ("H200 141GB HBM3e", "h200"),
        ("GH200-96GB", "gh200-96gb"),
        ("GH200-144GB", "gh200"),
        ("B200-SXM-180GB", "b200"),
        ("B200-SXM-192GB", "b200"),
        ("HGX B200", "b200"),
        ("B300-SXM-270GB", "b300"),
        ("NVIDIA B300 SXM6 AC", "b300"),
        ("GB200-NVL72", "gb200-nvl72"),
        ("NVIDIA GB200 186GB", "gb200-nvl72"),
        ("GB300-NVL72", "gb300-nvl72"),
        ("MI325X", "mi325x"),
        ("MI355X-288GB", "mi355x"),
        ("AMD Instinct MI300X OAM", "mi300x"),
        ("A100-SXM-80GB", "a100"),
        ("A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie-40gb"),
        ("L40S-48GB", "l40s"),
        ("L4-24GB", "l4"),
        ("RTX-PRO-6000-96GB", "rtx-pro-6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx-pro-6000-workstation"),
        ("RTX-4090-24GB", "rtx4090"),
        ("NVIDIA GeForce RTX 5090", "rtx5090"),
        ("TPU-v6e", "tpu-v6e"),
        ("Google Cloud TPU v6e Trillium", "tpu-v6e"),
        ("TPU v5e", "tpu-v5e"),
        ("TPU-v5p", "tpu-v5p"),
        ("TPU-7x-Ironwood", "tpu-v7"),
        ("Gaudi3", "gaudi3"),
        ("Intel Gaudi-3-128GB", "gaudi3"),
        ("H20-96GB", "h20"),
        ("H20-141GB", "h20-141gb"),
        ("H800-SXM-80GB", "h800"),
        ("V100-SXM2-32GB", "v100"),
        ("AWS Trainium2", "trainium2"),
        ("Arc Pro B60 24GB", "arc-b60"),
        ("A10G-24GB", "a10g"),
        ("Tesla V100-SXM2-16GB", "v100-16gb"),
        ("NVIDIA A800-SXM4-80GB", "a800"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("RTX-3090-24GB", "rtx3090"),
    ],
)
def test_a_name_of_other_people_finds_its_chip(text, name):
    assert CATALOG.chip(text).name == name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("H100-SXM-40GB", ("h100 has 80 GB", "h100-pcie has 80 GB and is pcie")),
        ("H100-96GB", ("h100 has 80 GB", "h100-nvl is nvl")),
        ("NVIDIA GH200 480GB", ("gh200 has 144 GB", "gh200-96gb has 96 GB")),
        ("MI300X 288GB", ("mi300x has 192 GB",)),
        ("H800-PCIe", ("h800 is sxm",)),
        ("H200-PCIe", ("h200 is sxm", "h200-nvl is nvl")),
        ("GB200-NVL4", ("gb200-nvl72 is nvl72",)),
        ("NVIDIA H100 80GB HBM2e", ("h100 has hbm3",)),
        ("NVIDIA H100 Ampere", ("h100 is hopper",)),
        ("RTX6000", ("rtx-6000-ada is ada",)),
    ],
)
def test_a_contradiction_names_every_chip_called_so_and_what_it_is(text, parts):
    with pytest.raises(InputError) as caught:
        CATALOG.chip(text)
    assert not isinstance(caught.value, UnknownNameError)
    for part in (repr(text), *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["8xH100", "RTX 7000", "hopper", "80GB", "", " ", "H", "RTX PRO 6000 Max-Q", "h100-turbo"]
)
def test_an_unknown_word_is_not_dropped(text):
    with pytest.raises(UnknownNameError, match="unknown chip"):
        CATALOG.chip(text)


def test_a_name_that_leaves_the_board_open_is_refused_with_the_candidates(tmp_path):
    folder = tmp_path / "chips"
    folder.mkdir()
    for size in (40, 44):
        (folder / f"foo-x1-{size}gb.yaml").write_text(
            f"extends: a100\ntitle: Foo\nmemory: {{hbm: {{marketed_capacity: {size} GB}}}}\n"
        )
    mine = load([tmp_path])
    with pytest.raises(InputError, match=r"may be foo-x1-40gb, foo-x1-44gb\. Write one of them"):
        mine.chip("Foo X1 42GB")
    assert mine.chip("Foo X1 SXM4 38GB").name == "foo-x1-40gb"


VENDORS = {"NVIDIA", "AMD", "Intel", "Google", "AWS", "Apple", "Huawei", "Cerebras", "SambaNova"}


@pytest.mark.parametrize("name", [name for name in CATALOG.chips() if CATALOG.chip(name).vendor in VENDORS])
def test_vendor_words_and_the_own_memory_size_change_nothing(name):
    chip = CATALOG.chip(name)
    size = chip.memory[0].marketed_capacity_bytes.value / 1e9
    spelled = name if "gb" in name.split("-")[-1] else f"{name}-{size:g}GB"
    assert CATALOG.chip(f"{chip.vendor} {spelled.upper()}") is chip


def test_a_name_is_taken_apart():
    read = read_chip_name("NVIDIA RTX PRO 6000 Blackwell Server Edition 96 GB GDDR7")
    assert read.words == ("rtx", "pro", "6000")
    assert read.base == "rtxpro6000"
    assert read.forms == {"server"}
    assert read.capacity_bytes == 96e9
    assert read.technology == "gddr7"
    assert read.families == {"blackwell"}
    assert read_chip_name("TPU7x 192GiB").capacity_bytes == 192 * 2**30


VALIDATION_ROWS = (
    "Arc-Pro-B60 Arc-Pro-B70 B200-SXM-180GB B300-SXM-270GB GB200-NVL72 GH200-144GB GH200-96GB H100-NVL-94GB "
    "H100-PCIe-80GB H100-SXM-80GB H200-NVL-141GB H200-SXM-141GB H800-SXM-80GB L40S MI300X MI350X MI355X "
    "RTX-PRO-4500 RTX-PRO-6000-96GB TPU-7x-Ironwood TPU-v4 TPU-v6e"
)


@pytest.mark.parametrize("text", VALIDATION_ROWS.split())
def test_the_hardware_of_the_validation_rows_is_in_the_catalog(text):
    chip = CATALOG.chip(text)
    size = read_chip_name(text).capacity_bytes
    assert size is None or chip.memory[0].marketed_capacity_bytes.value == pytest.approx(size, rel=0.08)
