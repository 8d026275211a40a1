"""How long a new replica takes before its first step: its weights are loaded, its engine gets ready."""

from __future__ import annotations

from tokenroof.catalog.core import Claim, Quantity
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.capacity import resident_weights
from tokenroof.deploy.core import Pool

_LOGS = "vllm-startup"

LOAD = Quantity(
    value=1e9,
    unit="bytes/s",
    source=_LOGS,
    claim=Claim.ASSUMPTION,
    low=0.4e9,
    high=4e9,
    note="weights into one chip: 10 s for 70 GB over 8 chips and 0.9 s for 3.7 GB from the page cache, "
    "25 to 32 s for 13.6 GB from disk",
)
READY = Quantity(
    value=60.0,
    unit="s",
    source=_LOGS,
    claim=Claim.ASSUMPTION,
    low=34.0,
    high=205.0,
    note="processes, profile run, compilation and captured graphs: 34 to 59 s with compiled code at hand, "
    "145 s without, 60 s more for a check of peer access",
)

START_UP_NOTE = (
    f"start-up: weights load at {LOAD.value / 1e9:g} GB/s per chip (0.4 to 4), then the engine takes "
    f"{READY.value:g} s (34 to 205)"
)
"""What is assumed when no time is given."""


def start_up_s(pool: Pool, model: ModelSpec, precision: Precision) -> float:
    """From the decision to serve until the first step of a new replica; all chips load at once. [s]"""
    weights = sum(resident_weights(model, precision, pool.parallel).values())
    return weights / LOAD.value + READY.value
