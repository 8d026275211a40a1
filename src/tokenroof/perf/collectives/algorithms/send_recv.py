"""A message from one chip to another."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.core import SEND_RECV, Plan, Reach


def send_recv(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of one message between neighbours of the group: one path, all its bytes."""
    if kind != SEND_RECV:
        return None
    return Plan(
        hops=reach.neighbour_hops,
        sent_bytes=message_bytes * 1.0,
        bandwidth_bytes_per_s=reach.pair_bytes_per_s,
        link_bytes=message_bytes * float(reach.neighbour_hops),
    )
