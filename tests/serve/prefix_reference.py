"""The prefix cache once more, in plain Python with ordered dictionaries, to compare the compiled one with."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from tokenroof.serve import prefix
from tokenroof.serve.core import CacheTier
from tokenroof.workload.core import Prefixes, Requests

UNIT_BLOCKS = 4
BLOCK_BYTES = 250.0
UNIT_BYTES = UNIT_BLOCKS * BLOCK_BYTES


def make_requests(paths):
    """One request per list of identities."""
    count = len(paths)
    return Requests(
        arrival_s=np.zeros(count),
        isl_tokens=np.full(count, 64),
        osl_tokens=np.ones(count, np.int64),
        follows=np.full(count, -1),
        session=np.full(count, -1),
        class_index=np.zeros(count, np.int64),
        prefixes=Prefixes(
            block_tokens=64,
            start=np.cumsum([0, *map(len, paths)]),
            ids=np.array([u for path in paths for u in path], np.int64),
        ),
    )


def tier(name="host", units=4, *, bytes_per_s=1e3, latency_s=0.0, shared=False, write_through=True):
    """At 1e3 bytes/s a unit takes one second."""
    return CacheTier(
        name=name,
        blocks=units * UNIT_BLOCKS,
        bytes_per_s=bytes_per_s,
        latency_s=latency_s,
        shared=shared,
        write_through=write_through,
    )


def make(paths, *, replicas=1, tiers=()):
    """Empty compiled caches."""
    return prefix.make_prefix(make_requests(paths), replicas, tiers, UNIT_BLOCKS, BLOCK_BYTES, True)


def ring(array, row):
    """Identities in a ring, least recently used first, read in both directions."""
    onwards, backwards = [], []
    for way, found in (("next", onwards), ("prev", backwards)):
        node = array[row, 0][way]
        while node != 0:
            found.append(int(node) - 1)
            node = array[row, node][way]
    assert onwards == backwards[::-1]
    assert len(onwards) == array[row, 0]["users"]
    return onwards


def snapshot(cache):
    """What a compiled cache holds, in the terms of ``Reference.snapshot``."""
    replicas = cache.unit.shape[0]
    held = []
    for r in range(replicas):
        users = cache.unit["users"][r]
        held.append({int(u) - 1: int(users[u]) - 1 for u in range(1, users.size) if users[u] > 1})
        assert sorted(int(u) - 1 for u in np.flatnonzero(users == 1) if u > 0) == sorted(ring(cache.unit, r))
        assert cache.counts[r]["present"] == np.count_nonzero(users[1:])
    content = []
    for level in range(cache.tiers.tier.shape[0]):
        rows = [int(cache.tiers.tier[level, r]["row"]) for r in range(replicas)]
        content.append([ring(cache.tiers.place, row) for row in rows])
        for row, found in zip(rows, content[-1], strict=True):
            there = np.flatnonzero(cache.tiers.place["users"][row][1:])
            assert sorted(found) == there.tolist()
    sums = [
        [[float(seen[name]) for name in ("loaded_bytes", "stored_bytes", "busy_s")] for seen in level]
        for level in cache.tiers.tier
    ]
    return held, [ring(cache.unit, r) for r in range(replicas)], content, sums


@dataclass
class Link:
    free_s: float = 0.0
    loaded_bytes: float = 0.0
    stored_bytes: float = 0.0
    busy_s: float = 0.0


class Reference:
    """Same functions, same meaning, nothing in common."""

    def __init__(self, paths, replicas, tiers):
        self.paths = paths
        self.tiers = tiers
        self.held = [{} for _ in range(replicas)]
        self.idle = [OrderedDict() for _ in range(replicas)]
        self.landing = [{} for _ in range(replicas)]
        self.content = []
        for each in tiers:
            one = OrderedDict()
            self.content.append([one if each.shared else OrderedDict() for _ in range(replicas)])
        self.links = [[Link() for _ in range(replicas)] for _ in tiers]

    def present(self, r, u):
        return u in self.held[r] or u in self.idle[r]

    def where(self, r, u):
        return next((k for k, content in enumerate(self.content) if u in content[r]), None)

    def match(self, r, i, most):
        path = self.paths[i][:most]
        return next((k for k, u in enumerate(path) if not self.present(r, u)), len(path))

    def match_below(self, r, i, first, most):
        path = self.paths[i][first:most]
        gaps = (k for k, u in enumerate(path) if not self.present(r, u) and self.where(r, u) is None)
        return next(gaps, len(path))

    def store(self, level, r, u):
        content = self.content[level][r]
        if u in content:
            content.move_to_end(u)
            return
        content[u] = True
        capacity = self.tiers[level].blocks // UNIT_BLOCKS
        if capacity > 0:
            self.links[level][r].stored_bytes += UNIT_BYTES
        if len(content) > capacity:
            victim, _ = content.popitem(last=False)
            if level + 1 < len(self.tiers) and not self.tiers[level + 1].write_through:
                self.store(level + 1, r, victim)

    def written_through(self):
        return [level for level, each in enumerate(self.tiers) if each.write_through]

    def reference(self, r, u):
        was_idle = u in self.idle[r]
        self.idle[r].pop(u, None)
        self.held[r][u] = self.held[r].get(u, 0) + 1
        return was_idle

    def hold(self, r, i, units):
        were_idle = 0
        for u in reversed(self.paths[i][:units]):
            were_idle += self.reference(r, u)
            for level in self.written_through():
                self.store(level, r, u)
        return were_idle

    def enter(self, r, i, first, last):
        duplicates = 0
        for u in reversed(self.paths[i][first:last]):
            duplicates += self.present(r, u)
            self.reference(r, u)
            for level in self.written_through():
                self.store(level, r, u)
        return duplicates

    def drop(self, r, i, units):
        became_idle = 0
        for u in reversed(self.paths[i][:units]):
            self.held[r][u] -= 1
            if self.held[r][u] == 0:
                del self.held[r][u]
                self.landing[r].pop(u, None)
                self.idle[r][u] = True
                became_idle += 1
            for level in self.written_through():
                if u in self.content[level][r]:
                    self.content[level][r].move_to_end(u)
        return became_idle

    def evict(self, r, count, now_s):
        done = 0
        while done < count and self.idle[r]:
            u, _ = self.idle[r].popitem(last=False)
            if self.tiers and not self.tiers[0].write_through:
                self.store(0, r, u)
            done += 1
        return done

    def load_s(self, r, i, first, last, now_s):
        path = self.paths[i][first:last]
        ends = [now_s, *(self.landing[r].get(u, 0.0) for u in path)]
        absent = [self.where(r, u) for u in path if not self.present(r, u)]
        for level in set(absent):
            seconds = absent.count(level) * UNIT_BYTES / self.tiers[level].bytes_per_s
            ends.append(max(now_s, self.links[level][r].free_s) + seconds + self.tiers[level].latency_s)
        return max(ends) - now_s

    def load(self, r, i, first, last, now_s):
        done_s = now_s + self.load_s(r, i, first, last, now_s)
        path = self.paths[i][first:last]
        for u in path:
            if not self.present(r, u):
                link = self.links[self.where(r, u)][r]
                seconds = UNIT_BYTES / self.tiers[self.where(r, u)].bytes_per_s
                link.free_s = max(link.free_s, now_s) + seconds
                link.busy_s += seconds
                link.loaded_bytes += UNIT_BYTES
        for u in reversed(path):
            if not self.present(r, u):
                self.landing[r][u] = done_s
                for content in self.content[1:]:
                    if u in content[r]:
                        content[r].move_to_end(u)
                self.store(0, r, u)
            self.reference(r, u)
        return done_s

    def arrived_s(self, r, i, units):
        return max((self.landing[r].get(u, 0.0) for u in self.paths[i][:units]), default=0.0)

    def clear(self, r):
        self.idle[r].clear()
        for level, each in enumerate(self.tiers):
            self.links[level][r].free_s = 0.0
            if not each.shared:
                self.content[level][r].clear()

    def idle_units(self, r):
        return len(self.idle[r])

    def snapshot(self):
        content = [[list(one) for one in level] for level in self.content]
        sums = [[[k.loaded_bytes, k.stored_bytes, k.busy_s] for k in level] for level in self.links]
        return self.held, [list(one) for one in self.idle], content, sums
