"""The noun of a deployment whose decode pool keeps attention alone."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.deploy.core import Pool, Role
from tokenroof.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward(Pool):
    """Chips that compute the feed-forwards of what another pool decodes.

    A deployment that has one keeps attention, its cache, the norms and both ends of the model on its
    decode pool, and every feed-forward here. A replica of the one works with a replica of the other.

    Attributes
    ----------
    chip, engine, parallel, replicas
        As of any pool. ``dp * tp`` chips share the tokens and the matrices, ``ep`` ways the experts.
    micro_batches : int
        Parts that a step's batch is cut into, so that one half of a layer works on one part while the
        other half has another: 1 is no overlap, 2 is ping-pong, 3 leaves a part on the wires.

    Raises
    ------
    InputError
        Fewer than one micro-batch.
    """

    role: Role = Role.FEED_FORWARD
    micro_batches: int = 3

    def __post_init__(self) -> None:
        given = self.micro_batches
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise InputError(f"micro_batches must be a whole number of at least 1, got {given!r}.")
