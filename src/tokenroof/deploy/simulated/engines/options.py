"""How options that users write become fields of an engine's type: names, kinds of value, ranges."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

from tokenroof.catalog.core import Claim, Engine, Quantity
from tokenroof.errors import InputError
from tokenroof.serve.core import Scheduler

_CHECK = "check"
_USER = "user"

ELSEWHERE = {
    "kv_cache_dtype": "the format of the cache belongs to the model: give it as 'kv'",
    "dtype": "the format of the weights belongs to the model: give it as 'weights'",
    "quantization": "the format of the weights belongs to the model: give it as 'weights'",
    "tensor_parallel_size": "the sharding belongs to the pool: give it as 'tp'",
    "tp_size": "the sharding belongs to the pool: give it as 'tp'",
    "pipeline_parallel_size": "the sharding belongs to the pool: give it as 'pp'",
    "pp_size": "the sharding belongs to the pool: give it as 'pp'",
    "data_parallel_size": "the sharding belongs to the pool: give it as 'dp'",
    "dp_size": "the sharding belongs to the pool: give it as 'dp'",
    "ep_size": "the sharding belongs to the pool: give it as 'ep'",
    "enable_expert_parallel": "the sharding belongs to the pool: give it as 'ep'",
    "speculative_config": "speculation belongs to the pool: give it as 'speculation'",
    "speculative_algorithm": "speculation belongs to the pool: give it as 'speculation'",
}
"""Options of engines that are said somewhere else here."""


class EngineSettings(Protocol):
    """The options of one engine; ``None`` in a field means the catalog's value."""

    ALIASES: ClassVar[Mapping[str, str]]

    @property
    def prefix_caching(self) -> bool | None:
        """Whether prompts share blocks; None: as the engine does by itself."""
        ...

    def rank_blocks(self, engine: Engine, held: int) -> int:
        """Blocks of cache of one data parallel rank, of ``held`` that its memory holds."""
        ...

    def engine(self, engine: Engine) -> Engine:
        """The catalog's engine with these options."""
        ...

    def scheduler(self, engine: Engine) -> Scheduler:
        """The batching rule, with the limits of one data parallel rank."""
        ...

    def graph_sizes(
        self, engine: Engine, *, query_tokens: int, chip_bytes: float, tp: int
    ) -> tuple[int, ...]:
        """Sequences of one rank for which decode graphs are captured; others are padded up to the next."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number of at least ``least``."""

    least: int = 1

    def read(self, name: str, given: object) -> int:
        """The number."""
        if isinstance(given, bool) or not isinstance(given, int):
            if not (isinstance(given, float) and given.is_integer()):
                raise InputError(f"{name} must be a whole number, got {given!r}.")
            given = int(given)
        if given < self.least:
            raise InputError(f"{name} must be at least {self.least}, got {given}.")
        return given


@dataclass(frozen=True, slots=True)
class WholeOrOff:
    """A whole number of at least 1, or -1 for none."""

    def read(self, name: str, given: object) -> int:
        """The number."""
        if given == -1 and not isinstance(given, bool):
            return -1
        return Whole().read(name, given)


@dataclass(frozen=True, slots=True)
class Number:
    """A number above ``above``, up to ``most``."""

    above: float = 0.0
    most: float = math.inf
    included: bool = False

    def read(self, name: str, given: object) -> float:
        """The number."""
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise InputError(f"{name} must be a number, got {given!r}.")
        low = given >= self.above if self.included else given > self.above
        if not (low and given <= self.most and math.isfinite(given)):
            bound = f"at least {self.above:g}" if self.included else f"above {self.above:g}"
            top = f" and at most {self.most:g}" if math.isfinite(self.most) else ""
            raise InputError(f"{name} must be {bound}{top}, got {given!r}.")
        return float(given)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, name: str, given: object) -> bool:
        """The value."""
        if not isinstance(given, bool):
            raise InputError(f"{name} must be true or false, got {given!r}.")
        return given


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, name: str, given: object) -> str:
        """The word."""
        if not isinstance(given, str) or given.upper() not in self.words:
            raise InputError(f"{name} must be one of {', '.join(self.words)}, got {given!r}.")
        return given.upper()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Ascending whole numbers."""

    def read(self, name: str, given: object) -> tuple[int, ...]:
        """The numbers."""
        if not isinstance(given, list | tuple) or not given:
            raise InputError(f"{name} must be a list of whole numbers, got {given!r}.")
        return tuple(sorted({Whole().read(name, each) for each in given}))


Check = Whole | WholeOrOff | Number | Flag | Choice | Sizes
Settings = TypeVar("Settings", bound=EngineSettings)


def option(check: Check, default: object = None) -> Any:
    """A field that users may set; its default is used unchecked."""
    return dataclasses.field(default=default, metadata={_CHECK: check})


def read_options(kind: type[Settings], engine: str, options: Mapping[str, object]) -> Settings:
    """Options as users write them, checked.

    Parameters
    ----------
    kind : type
        Type of the engine's options.
    engine : str
        Its name, for messages.
    options : mapping of str to object
        By name; dashes count as underscores. A value of None counts as not given.

    Raises
    ------
    InputError
        An unknown option (with the nearest), one that is said elsewhere, given twice, of another type or
        out of range.
    """
    fields = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for written, value in options.items():
        name = written.lstrip("-").replace("-", "_")
        name = kind.ALIASES.get(name, name)
        if name not in fields:
            _refuse(engine, written, name, tuple(fields))
        if name in found:
            raise InputError(f"{engine} option {written!r} is given twice. Leave one out.")
        if value is not None:
            found[name] = fields[name].metadata[_CHECK].read(f"{engine} option {written}", value)
    return kind(**found)


def _refuse(engine: str, written: str, name: str, known: tuple[str, ...]) -> None:
    if name in ELSEWHERE:
        raise InputError(f"{engine} option {written!r}: {ELSEWHERE[name]}.")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"Nearest: {', '.join(near)}. " if near else ""
    raise InputError(f"unknown {engine} option {written!r}. {hint}Known: {', '.join(sorted(known))}.")


def changed(engine: Engine, **given: float | int | None) -> Engine:
    """The engine with some of its plain numbers given by the user; None leaves the catalog's."""
    numbers = {name: value for name, value in given.items() if value is not None}
    if not numbers:
        return engine
    said = {
        name: Quantity(value=float(value), unit="", source=_USER, claim=Claim.ASSUMPTION, note="as given")
        for name, value in numbers.items()
    }
    fields: dict[str, Any] = dict(numbers)
    return replace(engine, **fields, settings={**engine.settings, **said})


def host_in_line(engine: Engine, option_name: str) -> Engine:
    """The engine with a host that prepares a step after the one before, not beside it.

    ``step_overhead_s`` is what a step takes longer than its kernels. Of a host beside the device that is
    what it cannot hide; of one in line all it does, for which the upper end of the range is taken.
    """
    host = engine.step_overhead_s
    slow = replace(
        host,
        value=host.high if host.high is not None else host.value,
        claim=Claim.ASSUMPTION,
        note=f"upper end of the range: {option_name}",
    )
    return replace(engine, step_overhead_s=slow)


def per_query(sizes: Iterable[int], query_tokens: int) -> tuple[int, ...]:
    """Sequences that fill graphs of so many tokens, ``query_tokens`` each, in whole sequences."""
    return tuple(sorted({-(-size // query_tokens) for size in sizes}))
