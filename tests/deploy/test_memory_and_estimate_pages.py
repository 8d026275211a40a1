"""The worked examples of the memory and estimate pages, run as written."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "model"


@pytest.mark.parametrize("page", ["memory", "estimate"])
def test_every_example_prints_what_the_page_says(page: str) -> None:
    result = doctest.testfile(str(DOCS / f"{page}.md"), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0
