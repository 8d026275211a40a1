"""The nouns of launch files: what is asked beside the deployment, and what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenroof.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mtp:
    """Drafts by the multi-token-prediction layers of the checkpoint."""

    draft_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eagle:
    """Drafts by an EAGLE-3 head, a checkpoint of its own."""

    draft_tokens: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftModel:
    """Drafts by a small model."""

    draft_tokens: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ngram:
    """Drafts by what followed the same words in the prompt."""

    draft_tokens: int


Speculation = Mtp | Eagle | DraftModel | Ngram


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How a pool is served, beside its chip, engine and sharding.

    Limits of a step and the memory fraction are those of the pool's engine. The block size is left to the
    engine, whose attention kernels ask for one of theirs (MLA in vLLM: 64); ``flags`` can set it.

    Attributes
    ----------
    prefix_caching : bool or None
        Whether prompts share blocks; None: as the engine does by itself.
    speculation : Speculation or None
        What drafts.
    offload_bytes : float or None
        Host memory for evicted cache, of one replica; None: none. [bytes]
    flags : mapping of str to str
        Further flags of the engine with their values, "" for a switch (``{"--enable-eplb": ""}``).
    node_selector : mapping of str to str
        Labels of the Kubernetes nodes with these chips.
    """

    prefix_caching: bool | None = None
    speculation: Speculation | None = None
    offload_bytes: float | None = None
    flags: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    """What launch files need to know beside the deployment.

    Attributes
    ----------
    pools : tuple of PoolSettings
        One per pool of the deployment; empty: nothing particular.
    max_context_tokens : int or None
        Longest prompt and answer together that is accepted; None: the model's. [tokens]
    checkpoint : str
        Repository or path of weights in the planned format; "": the model's own, if it has that format.
    name : str
        Of everything in a cluster; "": after the model.
    chips_per_host : int or None
        Chips that one operating system sees; None: as usual for the chip.
    """

    pools: tuple[PoolSettings, ...] = ()
    max_context_tokens: int | None = None
    checkpoint: str = ""
    name: str = ""
    chips_per_host: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_context_tokens", "chips_per_host"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFile:
    """A file to launch a deployment with, or to test it.

    Attributes
    ----------
    name : str
        File name.
    text : str
        Content; "" when it cannot be written.
    note : str
        What it does, how it is used and what to check; without a text: why it cannot be written.
    """

    name: str
    text: str
    note: str

    @property
    def written(self) -> bool:
        """Whether there is a file."""
        return bool(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its arguments.

    Attributes
    ----------
    tool : str
        List of flags that it has to keep to, in ``data/flags``.
    program : tuple of str
        How it is started.
    positional : tuple of str
        Arguments without a flag, which come first.
    flags : tuple of (str, tuple of str)
        Flags with their values; no value for a switch.
    env : mapping of str to str
        Environment variables.
    """

    tool: str
    program: tuple[str, ...]
    positional: tuple[str, ...] = ()
    flags: tuple[tuple[str, tuple[str, ...]], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Everything behind the program."""
        return (*self.positional, *(word for flag, values in self.flags for word in (flag, *values)))
