"""Models by the names of their checkpoints: organisation, tuning, date and format around one architecture.

"RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic" is Llama-3.1-8B, in fp8. What does not change a shape is
dropped; the format does change the cost, so it is handed back and never lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tokenroof.catalog.chip_names import joined
from tokenroof.errors import InputError, UnknownNameError

_FORMAT = re.compile(
    r"(nv|mx|bf|fp|int|uint)(fp)?(2|3|4|6|8|16|32)|w\d{1,2}a\d{1,2}|[2-8]bits?|i?q[2-8]|awq|gptq|gguf|mlx|bnb|"
    r"quantized|quant|autoround|hqq|exl[23]|eetq|smoothquant|quark|ptpc|torchao"
)
_FORMAT_DETAIL = re.compile(
    r"dynamic|static|block|blockscale|kv|cache|ptq|qat|v\d|g\d+|a?sym|marlin|channel|token|tensor|per|"
    r"k|m|s|l|xs|xl|0|1|mixed|only|weight|attn"
)
_TUNING = re.compile(r"instruct|chat|it|hf|base|thinking|preview|release|sft|dpo|rlhf|original|model")
_DATE = re.compile(r"2[3-9](0[1-9]|1[0-2])|(0[1-9]|1[0-2])([0-2]\d|3[01])|20\d{2}|20\d{6}")
_ACTIVE = re.compile(r"a\d+(\.\d+)?b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """The name of a checkpoint, taken apart.

    Attributes
    ----------
    words : tuple of str
        What names the architecture, in order ("llama", "3.3", "70b").
    formats : tuple of str
        Words about number formats, in order, lower case ("fp8", "dynamic"); empty when there are none.
    tuning, dates : tuple of str
        Words that leave every shape as it is ("instruct"), and dates ("0528").
    """

    words: tuple[str, ...]
    formats: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The architecture's words as the catalog spells names."""
        return "-".join(self.words)


def _tokens(text: str) -> list[str]:
    """Words of the last part of a path or id, without a leading "Meta-" of Llama."""
    last = text.strip().strip("/").rsplit("/", 1)[-1].rsplit("--", 1)[-1].lower()
    last = re.sub(r"\.(?!\d)|(?<!\d)\.", "-", last)
    found = [token for token in re.split(r"[^a-z0-9.]+", last) if token]
    if found[:1] == ["meta"] and any(token.startswith("llama") for token in found[1:]):
        return found[1:]
    return found


def read_model_name(text: str) -> ModelName:
    """Take the name of a checkpoint apart.

    Parameters
    ----------
    text : str
        A Hugging Face id, the last part of one, or a path ("Qwen/Qwen3-32B-FP8").

    Returns
    -------
    ModelName
        Its architecture words, and its format words apart.

    Examples
    --------
    >>> read_model_name("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic").formats
    ('fp8', 'dynamic')
    """
    groups: dict[str, list[str]] = {"words": [], "formats": [], "tuning": [], "dates": []}
    in_format = False
    for token in _tokens(text):
        in_format = bool(_FORMAT.fullmatch(token) or (in_format and _FORMAT_DETAIL.fullmatch(token)))
        if in_format:
            kind = "formats"
        elif _TUNING.fullmatch(token):
            kind = "tuning"
        else:
            kind = "dates" if _DATE.fullmatch(token) else "words"
        groups[kind].append(token)
    return ModelName(**{kind: tuple(found) for kind, found in groups.items()})


@lru_cache(maxsize=4096)
def _keys(text: str) -> tuple[str, ...]:
    """What is compared, from the whole name to the architecture without its active size."""
    read = read_model_name(text)
    without_format = [token for token in _tokens(text) if token not in read.formats]
    without_tuning = [token for token in without_format if token not in read.tuning]
    short = tuple(word for word in read.words if not _ACTIVE.fullmatch(word))
    return joined(without_format), joined(without_tuning), joined(read.words), joined(short)


def find_model(text: str, spellings: Mapping[str, str]) -> str:
    """The catalog name of the architecture that the name of a checkpoint stands for.

    Parameters
    ----------
    text : str
        As written.
    spellings : mapping of str to str
        Every name, alias and Hugging Face id, with the catalog name it stands for.

    Returns
    -------
    str
        A catalog name; the format words of ``text`` are for the caller (:func:`read_model_name`).

    Raises
    ------
    UnknownNameError
        Nothing is called so.
    InputError
        Several models are.
    """
    given = _keys(text)
    if given[0]:
        known = {spelling: _keys(spelling) for spelling in spellings}
        # The given name drops words step by step; among names that then agree, the plainest wins.
        for level, key in enumerate(given):
            for plainer in range(level + 1):
                found = {spellings[each] for each, keys in known.items() if key and keys[plainer] == key}
                if len(found) == 1:
                    return found.pop()
                if found:
                    raise _ambiguous(text, found)
        words = set(read_model_name(text).words)
        holding = {name for name in spellings.values() if words and words <= set(_tokens(name))}
        if holding:
            raise _ambiguous(text, holding)
    raise UnknownNameError("model", text, set(spellings.values()))


def _ambiguous(text: str, names: set[str]) -> InputError:
    listed = ", ".join(sorted(names)[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return InputError(f"model {text!r} may be {listed}. Write one of them.")
