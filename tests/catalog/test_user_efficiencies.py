"""A user's measurements: ``efficiency/*.csv`` of a catalog directory come before the shipped rows."""

import pytest

import tokenroof as tr
from tokenroof.catalog.efficiency import COLUMNS
from tokenroof.errors import CatalogError

ROW = (
    "gemm,h100,vllm,bf16,,wave,compute_fraction={0} fill_fraction=0.1 launch_s=1e-06 memory_fraction={0} "
    "quantise_fraction=0.5 ragged_fraction=0 sharpness=4 split_ways=1 step_s=0 tile_exponent=0,"
    "0.1,10,my-bench,measured"
)


def directory(path, fraction):
    (path / "efficiency").mkdir(parents=True)
    text = f"{','.join(COLUMNS)}\n{ROW.format(fraction)}\n"
    (path / "efficiency" / "mine.csv").write_text(text, encoding="utf-8")
    return path


def tpot_s(*directories):
    found = tr.estimate(
        "llama-3.1-8b", "h100", isl=100, osl=10, concurrency=1, catalog=tr.load_catalog(directories)
    )[0]
    return found.metrics["tpot_s"].value, found.sources


def test_a_users_rows_are_used_and_named(tmp_path):
    slow, sources = tpot_s(directory(tmp_path / "a", 0.01))
    shipped, others = tpot_s()
    assert slow > 20 * shipped
    assert "my-bench" in sources
    assert "my-bench" not in others


def test_the_last_directory_wins(tmp_path):
    slow, fast = directory(tmp_path / "a", 0.01), directory(tmp_path / "b", 0.5)
    assert tpot_s(slow, fast)[0] < tpot_s(fast, slow)[0] / 20


def test_a_malformed_file_is_named(tmp_path):
    mine = directory(tmp_path / "a", "much")
    with pytest.raises(CatalogError, match=r"mine\.csv, line 2: .*'much'"):
        tpot_s(mine)
