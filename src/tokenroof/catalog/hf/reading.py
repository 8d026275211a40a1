"""Reading a config.json: a file, a directory or text."""

from __future__ import annotations

import json
from pathlib import Path

from tokenroof.errors import InputError

MAX_BYTES = 10_000_000


def parse_config_text(text: str, *, where: str = "config") -> dict[str, object]:
    """The JSON object in ``text``.

    Parameters
    ----------
    text : str
        Content of a config.json.
    where : str
        What errors call it.

    Raises
    ------
    InputError
        Empty, larger than 10 MB, malformed, or not an object.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{where}: {len(text) / 1e6:.1f} MB is too large. A config.json is below 10 MB.")
    if not text.strip():
        raise InputError(f"{where}: empty. Give a Hugging Face config.json.")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: not valid JSON: {error.msg} at line {error.lineno} column {error.colno}. "
            "Give a Hugging Face config.json."
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{where}: not readable JSON: nested too deeply or a number too long. "
            "Give a Hugging Face config.json."
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: got a JSON {type(found).__name__}. A config.json holds an object.")
    return found


def read_config(path: Path | str) -> dict[str, object]:
    """The config in a file or directory.

    Parameters
    ----------
    path : Path or str
        A config.json, or a directory that holds one. ``hf_quant_config.json`` beside it (ModelOpt
        checkpoints) is merged under the key "hf_quant_config".

    Returns
    -------
    dict
        The JSON object.

    Raises
    ------
    InputError
        No such file, not readable, empty, larger than 10 MB, malformed, or not an object.
    """
    given = Path(path)
    file = given / "config.json" if _is_directory(given) else given
    config = _read_object(file)
    beside = file.with_name("hf_quant_config.json")
    if beside.is_file() and beside != file:
        config["hf_quant_config"] = _read_object(beside)
    return config


def _is_directory(path: Path) -> bool:
    return "\0" not in str(path) and path.is_dir()


def _read_object(file: Path) -> dict[str, object]:
    text = _read_text(file)
    return parse_config_text(text, where=str(file))


def _read_text(file: Path) -> str:
    if "\0" in str(file):
        raise InputError(f"{str(file)!r}: not a path. Give a config.json or a directory with one.")
    try:
        size_bytes = file.stat().st_size
        text = file.read_text(encoding="utf-8-sig") if size_bytes <= MAX_BYTES else ""
    except FileNotFoundError:
        raise InputError(f"{file}: no such file. Give a config.json or a directory with one.") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}. Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: not UTF-8 text. Give a Hugging Face config.json.") from None
    if size_bytes > MAX_BYTES:
        raise InputError(f"{file}: {size_bytes / 1e6:.1f} MB is too large. A config.json is below 10 MB.")
    return text
