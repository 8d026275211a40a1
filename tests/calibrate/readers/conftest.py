"""Results written as clients write them, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_clients import Read, Refused

from tokenroof.calibrate.readers import ResultRow, read_results
from tokenroof.errors import InputError


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Rows of an object, a list of objects, a text or bytes; keywords are columns given by the user."""

    def rows(content: Any, **given: str) -> tuple[ResultRow, ...]:
        path = tmp_path / "result.json"
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_results(path, given=given)

    return rows


@pytest.fixture
def refused(read: Read) -> Refused:
    """The one line with which it is refused, from the file name on."""

    def message(content: Any, **given: str) -> str:
        with pytest.raises(InputError) as caught:
            read(content, **given)
        text = str(caught.value)
        assert "\n" not in text
        return text.split("result.json: ")[-1]

    return message
