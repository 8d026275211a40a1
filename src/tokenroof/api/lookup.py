"""Reading the catalog: everything that has a name, and models of the user's own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from tokenroof.catalog import counting
from tokenroof.catalog.catalog import Catalog, directories_from_environment, load
from tokenroof.catalog.core import (
    Chip,
    Claim,
    Economics,
    Engine,
    Fabric,
    MemoryTier,
    Node,
    NodeLink,
    Quantity,
    Row,
    Source,
)
from tokenroof.catalog.files import normal_name
from tokenroof.catalog.hf import import_config, parse_config_text, read_config
from tokenroof.catalog.layers import Kind
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.errors import InputError

__all__ = [
    "Catalog",
    "CatalogLike",
    "Chip",
    "Claim",
    "Economics",
    "Engine",
    "Fabric",
    "Kind",
    "MemoryTier",
    "ModelSpec",
    "Node",
    "NodeLink",
    "Precision",
    "Quantity",
    "Row",
    "Source",
    "check_model_name",
    "import_model",
    "load_catalog",
    "model_file",
    "model_figures",
]


_LONGEST_NAME = 200  # file systems take 255 bytes, the suffix included

CatalogLike: TypeAlias = "Catalog | Sequence[Path | str] | Path | str"


def load_catalog(directories: CatalogLike = ()) -> Catalog:
    """The packaged catalog with the user's directories laid over it.

    Parameters
    ----------
    directories : path, sequence of paths, or Catalog
        The last one wins. Those of the environment variable ``TOKENROOF_CATALOG`` come before them.
        A catalog stays as it is.

    Returns
    -------
    Catalog
        ``chips()``, ``chip(name)``, ``models()``, ``model(name)``, ``search(text)``, ...

    Raises
    ------
    InputError
        A directory does not exist.
    """
    if isinstance(directories, Catalog):
        return directories
    given = (directories,) if isinstance(directories, str | Path) else tuple(directories)
    return load((*directories_from_environment(os.environ), *given))


def import_model(given: Path | str | Mapping[str, object], *, name: str = "") -> ModelSpec:
    """A model of the user's own.

    Parameters
    ----------
    given : Path, str or mapping
        A Hugging Face ``config.json`` or its directory; or its text; or its content. A file of the
        catalog's own layout ({"config": ..., "stated": ...}) is taken as well.
    name : str
        What to call it; by default after the file, or its directory.

    Raises
    ------
    InputError
        Not a config, one that cannot be counted, or a ``name`` that is none.
    """
    config, found = _config(given)
    called = check_model_name(normal_name(name)) if name else normal_name(found)
    inner, stated = config.get("config"), config.get("stated") or {}
    if isinstance(inner, Mapping) and isinstance(stated, Mapping) and "model_type" not in config:
        hf_id = str(config.get("hf_id", ""))
        return import_config(inner, name=called, hf_id=hf_id, source="user", stated=stated)
    return import_config(config, name=called, source="user")


def check_model_name(name: str) -> str:
    """``name``, if it may be the name of a catalog file.

    Raises
    ------
    InputError
        It holds anything but lower case letters, digits, dots, dashes and underscores, or begins with
        a sign.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name, re.ASCII) or len(name) > _LONGEST_NAME:
        raise InputError(
            f"a model's name is made of letters, digits, '.', '-' and '_', got {name[:40]!r}. "
            "Give another with --name (in Python: name=...)."
        )
    return name


def _config(given: Path | str | Mapping[str, object]) -> tuple[Mapping[str, object], str]:
    if isinstance(given, Mapping):
        return given, str(given.get("_name_or_path") or "inline-model")
    if isinstance(given, Path):
        if os.path.exists(given) and not (given.is_file() or given.is_dir()):
            raise InputError(f"{given}: neither a file nor a directory. Give a config.json.")
        path = given.resolve()
        named_by = path if path.is_dir() or path.stem != "config" else path.parent
        return read_config(given), named_by.name.removesuffix(".json") or "model"
    config = parse_config_text(given, where="model given as text")
    return config, str(config.get("_name_or_path") or "inline-model")


def model_file(given: Path) -> str:
    """The text of a catalog file for a user's model, to be saved as ``models/<name>.json``."""
    config, _ = _config(given)
    content = config if "config" in config and "model_type" not in config else {"config": dict(config)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def model_figures(model: ModelSpec) -> dict[str, tuple[float, str]]:
    """What a model counts to, before any sharding: value and unit by description."""
    formats = model.precision
    figures: dict[str, tuple[float, str]] = {
        "layers": (model.num_layers, ""),
        "parameters": (counting.parameters(model), "parameters"),
        "active parameters per token": (counting.active_parameters(model), "parameters"),
        "hidden width": (model.hidden, ""),
        "vocabulary": (model.vocab, "tokens"),
        "longest context": (model.max_context_tokens, "tokens"),
        f"cache per token ({formats.kv})": (counting.kv_bytes_per_token(model), "bytes"),
        "cache growth per token at long context": (
            counting.kv_bytes_per_token(model, windows=True),
            "bytes",
        ),
    }
    for name, count in counting.parameter_parts(model).items():
        if count:
            figures[f"parameters of {name}"] = (count, "parameters")
    if model.stated_parameters is not None:
        figures["parameters, as stated by its card"] = (model.stated_parameters, "parameters")
    if model.stated_active_parameters is not None:
        figures["active parameters, as stated by its card"] = (model.stated_active_parameters, "parameters")
    return figures
