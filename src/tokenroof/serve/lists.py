"""Doubly linked lists of requests, and heaps of whole numbers; all in place, in compiled code."""

from __future__ import annotations

from tokenroof.serve.arrays import ID_BITS, NONE, Array, World
from tokenroof.serve.jit import jit

HEAD, TAIL, COUNT = 0, 1, 2


@jit
def append(w: World, r: int, which: int, i: int) -> None:
    """Request ``i`` joins the end of list ``which`` of replica ``r``."""
    line = w.lists[r, which]
    last = line[TAIL]
    w.req[i]["before"] = last
    w.req[i]["after"] = NONE
    if last == NONE:
        line[HEAD] = i
    else:
        w.req[last]["after"] = i
    line[TAIL] = i
    line[COUNT] += 1


@jit
def prepend(w: World, r: int, which: int, i: int) -> None:
    """Request ``i`` joins the front."""
    line = w.lists[r, which]
    first = line[HEAD]
    w.req[i]["after"] = first
    w.req[i]["before"] = NONE
    if first == NONE:
        line[TAIL] = i
    else:
        w.req[first]["before"] = i
    line[HEAD] = i
    line[COUNT] += 1


@jit
def remove(w: World, r: int, which: int, i: int) -> None:
    """Request ``i`` leaves."""
    line = w.lists[r, which]
    before, after = w.req[i]["before"], w.req[i]["after"]
    if before == NONE:
        line[HEAD] = after
    else:
        w.req[before]["after"] = after
    if after == NONE:
        line[TAIL] = before
    else:
        w.req[after]["before"] = before
    line[COUNT] -= 1


@jit
def push_key(heap: Array, size: int, key: int) -> int:
    """Put ``key`` into a binary heap of ``size`` entries; the smallest is first. Returns the new size."""
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] <= key:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = key
    return size + 1


@jit
def pop_key(heap: Array, size: int, at: int) -> int:
    """Take out the entry at position ``at``. Returns the new size."""
    size -= 1
    if at == size:
        return size
    key = heap[size]
    while at > 0 and heap[(at - 1) >> 1] > key:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = key
    return size


@jit
def find_key(heap: Array, size: int, request: int) -> int:
    """Position of the entry of a request, or -1."""
    mask = (1 << ID_BITS) - 1
    for at in range(size):
        if heap[at] & mask == request:
            return at
    return NONE
