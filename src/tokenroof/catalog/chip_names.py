"""Chips by the names that people, drivers and benchmark databases give them.

"NVIDIA H100 80GB HBM3", "H100_SXM5" and "h100-sxm-80gb" are one board. A name is taken apart into what
it is called, its form factor, its memory and its architecture; only the first says which chips are
meant, and the rest must not contradict the one that is taken: "A100-SXM4-40GB" is not the 80 GB board.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tokenroof.catalog.core import Chip
from tokenroof.errors import InputError, UnknownNameError

_IDLE_WORDS = re.compile(
    r"nvidia|amd|intel|google|aws|amazon|apple|huawei|habana|cerebras|sambanova|instinct|geforce|tesla|radeon|"
    r"cloud|gpus?|tensor|core|accelerator|ai|superchip|grace|dgx|agx|ac|graphics|card|edition|ed|generation|per"
)
_ARCHITECTURES = {
    "volta": "volta", "ampere": "ampere", "ada": "ada", "lovelace": "ada", "hopper": "hopper",
    "blackwell": "blackwell", "cdna3": "cdna3", "cdna4": "cdna4",
}  # fmt: skip
_FORMS = (  # what stands in a name, and the form factor it means
    (re.compile(r"sxm\d?|hgx"), "sxm"),
    (re.compile(r"pcie\d?"), "pcie"),
    (re.compile(r"oam|hlb|hls"), "oam"),
    (re.compile(r"server"), "server"),
    (re.compile(r"workstation"), "workstation"),
)
_RACK = re.compile(r"nvl\d*")
_GLUED_FORM = re.compile(r"(?<=\d)(sxm\d?|pcie\d?|nvl\d*|oam)(?![a-z])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(gb|gib|g)")
_TECHNOLOGY = re.compile(r"(hbm|gddr|lpddr)\d?[ex]?")

# Marketed, usable and binary sizes of one board differ by up to this much: B200 is sold with 180, 186 and
# 192 GB, B300 with 270 and 288. Boards that do differ are further apart than that (80 and 94, 96 and 141).
CAPACITY_TOLERANCE = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipName:
    """A chip's name, taken apart.

    Attributes
    ----------
    words : tuple of str
        What the chip is called ("rtx", "pro", "6000").
    forms : frozenset of str
        Form factors: "sxm", "pcie", "oam", "nvl", "nvl72", "server", "workstation".
    capacity_bytes : float or None
        Memory size in the name. [bytes]
    technology : str
        Memory technology in the name ("hbm3"), or "".
    families : frozenset of str
        Architectures in the name ("hopper").
    """

    words: tuple[str, ...]
    forms: frozenset[str] = frozenset()
    capacity_bytes: float | None = None
    technology: str = ""
    families: frozenset[str] = frozenset()

    @property
    def base(self) -> str:
        """The words without separators, which people set as they like ("rtx4090" for "RTX-4090")."""
        return joined(self.words)

    @property
    def is_plain(self) -> bool:
        """Whether the name says nothing but what the chip is called."""
        return not (self.forms or self.families or self.technology or self.capacity_bytes)


def joined(words: tuple[str, ...] | list[str]) -> str:
    """Words without separators, except between two digits ("llama", "3.1", "8b" -> "llama3.1-8b")."""
    return re.sub(r"(?<!\d)-|-(?!\d)", "", "-".join(words))


@lru_cache(maxsize=4096)
def read_chip_name(text: str) -> ChipName:
    """Take a chip's name apart.

    Parameters
    ----------
    text : str
        As written ("NVIDIA H100 80GB HBM3").

    Returns
    -------
    ChipName
        Without vendor words.
    """
    plain = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
    plain = re.sub(r"(?<=\d)-(?=gi?b\b)", "", _GLUED_FORM.sub(r"-\1", plain))
    words: list[str] = []
    forms, families = set(), set()
    capacity: float | None = None
    technology = ""
    for token in plain.split("-"):
        form = token if _RACK.fullmatch(token) else _form(token)
        size = _SIZE.fullmatch(token)
        if not token or _IDLE_WORDS.fullmatch(token):
            continue
        if form:
            forms.add(form)
        elif size:
            capacity = float(size[1]) * (2**30 if size[2] == "gib" else 1e9)
        elif _TECHNOLOGY.fullmatch(token):
            technology = token
        elif token in _ARCHITECTURES:
            families.add(_ARCHITECTURES[token])
        else:
            words.append(token)
    return ChipName(
        words=tuple(words),
        forms=frozenset(forms),
        capacity_bytes=capacity,
        technology=technology,
        families=frozenset(families),
    )


def _form(token: str) -> str:
    return next((form for pattern, form in _FORMS if pattern.fullmatch(token)), "")


def find_chip(text: str, spellings: Mapping[str, str], chip: Callable[[str], Chip]) -> str:
    """The catalog name of a chip that is written some other way.

    Parameters
    ----------
    text : str
        As written.
    spellings : mapping of str to str
        Every name and alias, with the catalog name it stands for.
    chip : callable
        Reads a chip by its catalog name.

    Returns
    -------
    str
        A catalog name. Among boards that differ in what the text leaves open, the one that the plain name
        stands for ("H200" for the SXM board); a board named after its form factor or architecture is taken
        only when the text says so.

    Raises
    ------
    UnknownNameError
        Nothing is called so.
    InputError
        Memory, form factor or architecture contradict every chip of that name, or several remain.
    """
    given = read_chip_name(text)
    read = {spelling: read_chip_name(spelling) for spelling in spellings}
    named = _named(given, {spelling: name.base for spelling, name in read.items()}, spellings)
    if not given.words or not named:
        raise UnknownNameError("chip", text, set(spellings.values()))
    plain = {spellings[s] for s, name in read.items() if name.is_plain and name.base == given.base}
    against = {
        name: _contradictions(given, chip(name), None if name in plain else read[name])
        for name in sorted(named)
    }
    fitting = [name for name, problems in against.items() if not problems]
    preferred = [name for name in fitting if name in plain]
    if len(preferred) == 1 or len(fitting) == 1:
        return (preferred or fitting)[0]
    if fitting:
        raise InputError(f"chip {text!r} may be {', '.join(fitting)}. Write one of them.")
    reasons = "; ".join(f"{name} {' and '.join(problems)}" for name, problems in against.items())
    raise InputError(
        f"chip {text!r} is not in the catalog: {reasons}. Write one of them, or add a chip file."
    )


def _named(given: ChipName, bases: Mapping[str, str], spellings: Mapping[str, str]) -> set[str]:
    """Chips called by the given words, or by two names in a row ("TPU-7x-Ironwood")."""

    def called(words: tuple[str, ...]) -> set[str]:
        base = joined(words)
        return {spellings[spelling] for spelling, each in bases.items() if each == base}

    whole = called(given.words)
    if whole:
        return whole
    cuts = range(1, len(given.words))
    return set().union(*(called(given.words[:cut]) & called(given.words[cut:]) for cut in cuts))


def _contradictions(given: ChipName, chip: Chip, own: ChipName | None) -> list[str]:
    """What of the given name a chip is not; form and architecture in its ``own`` name must be written."""
    found = []
    tier = chip.memory[0]
    marketed, usable = tier.marketed_capacity_bytes.value, tier.usable_capacity_bytes.value
    size = given.capacity_bytes
    if size is not None and all(abs(size / each - 1) > CAPACITY_TOLERANCE for each in (marketed, usable)):
        found.append(f"has {marketed / 1e9:g} GB")
    if not tier.technology.startswith(given.technology):
        found.append(f"has {tier.technology}")
    forms = _forms(chip)
    if not given.forms <= forms or (own is not None and not own.forms <= given.forms):
        found.append(f"is {' '.join(sorted(forms)) or 'of another form'}")
    foreign = any(not chip.family.startswith(family) for family in given.families)
    if foreign or (own is not None and not own.families <= given.families):
        found.append(f"is {chip.family}")
    return found


def _forms(chip: Chip) -> frozenset[str]:
    """Form factors of a chip: those of its name, title and node."""
    texts = (chip.name, chip.title, chip.node)
    return frozenset().union(*(read_chip_name(text).forms for text in texts))
