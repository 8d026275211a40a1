"""What a simulation assumes of its pools, in lines for the assumptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenroof.deploy.halves.notes import halves_notes
from tokenroof.deploy.simulated.halves import ServedHalves
from tokenroof.deploy.simulated.pools import Served
from tokenroof.deploy.simulated.startup import START_UP_NOTE


def notes_of(served: Sequence[Served], *, changes: bool) -> tuple[str, ...]:
    """Every line once.

    Parameters
    ----------
    served : sequence of Served
        Pools.
    changes : bool
        Replicas may come and go.
    """
    lines = [line for each in served for line in _of_pool(each)]
    if changes and any(each.options.start_up_s is None for each in served):
        lines.append(START_UP_NOTE)
    return tuple(dict.fromkeys(lines))


def _of_pool(each: Served) -> Iterator[str]:
    setup, size = each.setup, each.size
    if setup.speculation is not None and each.options.drafting is not None:
        yield each.options.drafting.note()
    if setup.graph_sizes:
        yield (
            f"graphs: {each.pool.engine.name} pads batches that decode up to one of {len(setup.graph_sizes)} "
            f"sizes, the largest {setup.graph_sizes[-1]}"
        )
    for tier in setup.tiers:
        yield (
            f"offload: {tier.name} loads {tier.bytes_per_s / 1e9:.3g} GB/s into a replica after "
            f"{tier.latency_s * 1e6:.3g} us"
        )
    if size.blocks_per_sequence:
        yield (
            f"cache: state and windowed layers take {size.blocks_per_sequence} blocks of a sequence, those "
            "of the longest request"
        )
    if each.pool.parallel.dp > 1:
        yield (
            "data parallel: the ranks of a replica share blocks and work evenly; energy is that of ranks as "
            "busy as the busiest"
        )
    if isinstance(each, ServedHalves):
        yield from halves_notes(each.steps)
    if setup.link is not None and setup.link.overlap_fraction == 0.0:
        yield "the cache is handed over after the prefill; nothing of it is hidden"
