"""Collectives: topologies, algorithms, and the time of a message among chips.

``dispatch`` is the door: :func:`collective_s` for one collective, :func:`collective_time` for an
operator. ``topology`` and ``algorithms`` hold one file per fabric and per algorithm.
"""

from tokenroof.perf.collectives.dispatch import collective_s as collective_s
from tokenroof.perf.collectives.dispatch import collective_time as collective_time
