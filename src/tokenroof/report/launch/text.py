"""Values as the text of a file."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from tokenroof.report.launch.core import Command


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, nothing shared, and strings that look like numbers quoted."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def yaml_text(*documents: Mapping[str, Any], head: str = "") -> str:
    """YAML documents below a comment."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    body = yaml.dump_all(
        [dict(document) for document in documents],
        Dumper=_Dumper,
        sort_keys=False,
        width=10_000,
        allow_unicode=True,
    )
    return comment + body


def shell_words(words: Iterable[str]) -> str:
    """Words quoted for a POSIX shell; a variable ``${NAME}`` stays one."""
    return " ".join(_word(word) for word in words)


def shell_command(command: Command, *, indent: str = "  ") -> str:
    """A command over several lines, one flag on each, its environment before it."""
    env = [f"{name}={_word(value)}" for name, value in command.env.items()]
    first = " ".join([*env, shell_words((*command.program, *command.positional))])
    rest = (shell_words((flag, *values)) for flag, values in command.flags)
    return f" \\\n{indent}".join([first, *rest])


def _word(word: str) -> str:
    if "${" in word and not set(word) & set("\"`\\'"):
        return f'"{word}"'
    return shlex.quote(word)
