"""Two rooms count the cache of a token: by layer (catalog) and by chip (graph). One answer."""

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.counting import kv_bytes_per_token
from tokenroof.graph.core import Parallel
from tokenroof.graph.memory import kv_bytes_per_token_per_chip

CATALOG = load()


@pytest.mark.parametrize("name", CATALOG.models())
def test_one_chip_caches_what_the_layers_add(name: str) -> None:
    model = CATALOG.model(name)
    assert kv_bytes_per_token_per_chip(model, model.precision, Parallel()) == kv_bytes_per_token(
        model, model.precision, windows=True
    )
