"""The way between attention chips and feed-forward chips: which fabric, what a chip sends, how long it takes.

The chips of an attention rank hold the same hidden state after their all-reduce: each sends its share of it
to the chips that take the rank's tokens over, which put the shares together among themselves; likewise on
the way back. Hidden states travel in 16 bits, once for every token: feed-forward chips route tokens to
experts, and send them on among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Infeasible, Pool
from tokenroof.deploy.legality import domain_size
from tokenroof.graph.comms import collective
from tokenroof.graph.core import Collective
from tokenroof.graph.ints import WIDE_BYTES
from tokenroof.perf.collectives.core import SEND_RECV
from tokenroof.perf.collectives.dispatch import collective_s
from tokenroof.perf.core import Machine

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One side of the way.

    Attributes
    ----------
    machine : Machine
        Its chip.
    ways : int
        Chips that share what a rank sends.
    stride : int
        Distance, in its own chips, of whoever it sends to: decides between scale-up and scale-out.
    """

    machine: Machine
    ways: int
    stride: int

    def message_bytes(self, tokens: IntArray, hidden: int) -> IntArray:
        """What one chip sends, or receives, of the hidden states of its rank's tokens. [bytes]"""
        out: IntArray = -(-tokens * (hidden * WIDE_BYTES) // self.ways)
        return out

    def sends(self, name: str, count: int, tokens: IntArray, hidden: int) -> list[Collective]:
        """Its messages as operators, for energy and traffic."""
        return collective(name, count, SEND_RECV, self.message_bytes(tokens, hidden), 2, self.stride)

    def took_s(self, tokens: IntArray, hidden: int) -> FloatArray:
        """What its own links take. [s]"""
        message = self.message_bytes(tokens, hidden)
        return np.asarray(collective_s(SEND_RECV, message, 2, self.stride, self.machine))


def way_s(one: End, one_tokens: IntArray, other: End, other_tokens: IntArray, hidden: int) -> FloatArray:
    """A micro-batch from one side to the other: the slower end decides. [s]

    Parameters
    ----------
    one, other : End
        Both sides.
    one_tokens, other_tokens : IntArray
        Tokens of a rank of each.
    hidden : int
        Model width.
    """
    return np.maximum(one.took_s(one_tokens, hidden), other.took_s(other_tokens, hidden))


def together(attention: Pool, feed_forward: Pool) -> bool:
    """Whether a replica's chips of both kinds are in one scale-up domain."""
    chips = attention.parallel.chips + feed_forward.parallel.chips
    return attention.chip.name == feed_forward.chip.name and chips <= domain_size(attention.chip)


def wires_problem(attention: Pool, feed_forward: Pool) -> Infeasible | None:
    """Why the two groups of chips cannot exchange hidden states, or None."""
    if together(attention, feed_forward):
        return None
    for pool in (attention, feed_forward):
        if pool.chip.scale_out is None:
            chips = attention.parallel.chips + feed_forward.parallel.chips
            domain = domain_size(pool.chip)
            reason = (
                f"not connected: {pool.chip.name} has no scale-out fabric to the chips of the other half "
                f"of a layer, and one scale-up domain ({domain}) does not hold all {chips} of one kind. "
                "Use fewer chips of one kind, or another chip."
            )
            return Infeasible(reason=reason, need=chips, have=domain, unit="chips")
    return None


def stride_of(pool: Pool, *, inside: bool) -> int:
    """Distance of the other half: a neighbour, or out of the scale-up domain."""
    return 1 if inside else domain_size(pool.chip)
