"""A hash of code that remarks and layout do not change."""

from pathlib import Path

import pytest

from tokenroof.calibrate.fitting import stamp
from tokenroof.calibrate.fitting.core import FitSettings

CODE = '''"""What it is."""

LIMIT = 3  # so many


def twice(x):
    """Twice."""
    return 2 * x
'''


def package(folder: Path, code: str, data: str = "a") -> Path:
    (folder / "perf").mkdir(parents=True)
    (folder / "perf" / "one.py").write_text(code, encoding="utf-8")
    (folder / "catalog" / "data").mkdir(parents=True)
    (folder / "catalog" / "data" / "chips.yaml").write_text(data, encoding="utf-8")
    (folder / "catalog" / "data" / "tuning.csv").write_text(code, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("code", "same"),
    [
        (CODE, True),
        (CODE.replace("# so many", "# no more"), True),
        (CODE.replace('"""Twice."""', '"""Two times."""'), True),
        (CODE.replace("2 * x", "(2\n            * x)"), True),
        (CODE.replace("2 * x", "3 * x"), False),
        (CODE.replace("LIMIT = 3", "LIMIT = 4"), False),
    ],
)
def test_only_what_code_does_counts(tmp_path: Path, code: str, same: bool) -> None:
    one, other = package(tmp_path / "one", CODE), package(tmp_path / "other", code)
    assert (stamp.of_code(one) == stamp.of_code(other)) is same


def test_figures_of_the_catalog_count(tmp_path: Path) -> None:
    one, other = package(tmp_path / "one", CODE), package(tmp_path / "other", CODE, data="b")
    assert stamp.of_code(one) != stamp.of_code(other)


def test_settings_count() -> None:
    assert stamp.of_settings(FitSettings()) != stamp.of_settings(FitSettings(huber=2.0))
    assert stamp.of_settings(FitSettings()) == stamp.of_settings(FitSettings())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "stamp.json"
    stamp.write(path, {"tuning.csv": {"rows": "1"}})
    assert stamp.read(path) == {"tuning.csv": {"rows": "1"}}
