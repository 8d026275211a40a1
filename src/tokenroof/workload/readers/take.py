"""Some rows of a table of requests, with links and shared prefixes kept right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenroof.workload.core import NOBODY, IntArray, Prefixes, Requests


def first_of_chain(follows: IntArray) -> IntArray:
    """Row of the request that began the conversation of each row, shape (num_requests,)."""
    root = np.where(follows == NOBODY, np.arange(follows.size), follows)
    while True:
        further = root[root]
        if np.array_equal(further, root):
            return root
        root = further


def take(requests: Requests, rows: IntArray) -> Requests:
    """Requests of these rows in this order.

    Parameters
    ----------
    requests : Requests
        A table.
    rows : IntArray
        Rows to take; one that follows another comes after it, and that one is taken too.
    """
    place = np.full(len(requests), NOBODY, dtype=np.int64)
    place[rows] = np.arange(rows.size)
    follows = requests.follows[rows]
    prefixes = requests.prefixes
    return replace(
        requests,
        arrival_s=requests.arrival_s[rows],
        isl_tokens=requests.isl_tokens[rows],
        osl_tokens=requests.osl_tokens[rows],
        follows=np.where(follows == NOBODY, NOBODY, place[follows]),
        session=requests.session[rows],
        class_index=requests.class_index[rows],
        prefixes=None if prefixes is None else take_prefixes(prefixes, rows),
    )


def take_prefixes(prefixes: Prefixes, rows: IntArray) -> Prefixes:
    """Shared prefixes of these rows, their identities renumbered without gaps."""
    count = np.diff(prefixes.start)[rows]
    start = np.concatenate(([0], np.cumsum(count)))
    source = np.repeat(prefixes.start[rows] - start[:-1], count) + np.arange(start[-1])
    return Prefixes(block_tokens=prefixes.block_tokens, start=start, ids=renumbered(prefixes.ids[source]))


def renumbered(ids: IntArray) -> IntArray:
    """Whole numbers from 0 without gaps, equal where the given ones are equal and in the same order."""
    return np.unique(ids, return_inverse=True)[1].astype(np.int64).reshape(-1)
