"""Mooncake traces: one request per line, with identities of the blocks of its prompt.

Published with "Mooncake: Trading More Storage for Less Computation", FAST 2025, at
github.com/kvcache-ai/Mooncake (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import IntArray, Prefixes
from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.jsonl import read_objects
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.tabled import tabled
from tokenroof.workload.readers.take import take_prefixes

_KEYS = ("timestamp", "input_length", "output_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mooncake:
    """JSON lines; ``timestamp`` in ms, ``hash_ids`` one per block of the prompt, the last one rounded up.

    Equal identities are equal prompts up to and with that block. A file without ``hash_ids`` is read too:
    then nothing is known to be shared.

    Attributes
    ----------
    block_tokens : int
        Tokens of a block; 512 in the published traces. [tokens]
    """

    block_tokens: int = 512
    name: ClassVar[str] = "mooncake"
    header: ClassVar[str] = '{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [n, ...]}'

    def __post_init__(self) -> None:
        if self.block_tokens < 1:
            raise InputError(f"block_tokens must be at least 1, got {self.block_tokens}.")

    def recognises(self, head: Head) -> bool:
        """By its keys."""
        return head.keys >= set(_KEYS)

    def read(self, source: Source, rules: Rules) -> Trace:
        """Requests with their prefixes.

        Raises
        ------
        InputError
            As ``read_trace``; and when the number of ``hash_ids`` is not that of the blocks.
        """
        objects = read_objects(source)
        time_ms, isl, osl = (objects.numbers(key) for key in _KEYS)
        rows = Rows(line=np.array(objects.line), time_s=time_ms / 1e3, isl=isl, osl=osl, names=_KEYS)
        settled = settle(source, rows, rules)
        prefixes = None
        if objects.has("hash_ids"):
            start, ids = objects.whole_numbers("hash_ids")
            self._check_blocks(source, rows, np.diff(start))
            whole = Prefixes(block_tokens=self.block_tokens, start=start, ids=ids)
            prefixes = take_prefixes(whole, settled.rows)
        return Trace(
            table=tabled(source, settled, "Mooncake trace", prefixes=prefixes),
            format=self.name,
            dropped=settled.dropped,
            notes=() if prefixes else ("No hash_ids: no prompt is known to share anything.",),
        )

    def _check_blocks(self, source: Source, rows: Rows, blocks: IntArray) -> None:
        expected = -(-rows.isl // self.block_tokens)
        wrong = blocks != expected
        if wrong.any():
            row = int(np.argmax(wrong))
            raise source.wrong(
                f"{blocks[row]} hash_ids for a prompt of {rows.isl[row]:g} tokens; blocks of "
                f"{self.block_tokens} tokens make it {expected[row]:g}. "
                "Give the block size with Mooncake(block_tokens=...).",
                line=int(rows.line[row]),
            )
