"""Every generated page: reference, glossary, outputs of commands and examples, accuracy tables.

``python scripts/build_docs.py`` writes what has changed; ``--quick`` leaves out the accuracy pages, which
read all measurements. The tests compare the quick pages with the files.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import reference_pages  # noqa: E402 - it lies beside this file

from tokenroof.cli import main as tokenroof  # noqa: E402

WRITTEN_PAGES = (
    "README.md",
    "docs/quickstart.md",
    *(
        f"docs/howto/{name}.md"
        for name in (
            "add-a-chip",
            "import-a-model",
            "compare-future-memory",
            "read-the-answer",
            "plan",
            "simulate",
            "validate",
        )
    ),
)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
OTHER_GENERATORS = (
    *("operator_accuracy.py", "network_accuracy.py", "energy_accuracy.py", "measured_traces.py"),
    "accuracy_page.py",
)
CHART = "docs/images/roofline.svg"
DRAWN = (
    "estimate --model llama-3.3-70b --chip h100 --chip h200 --chip b200 --chip mi300x --chip tpu-v6e "
    f"--isl 2000 --osl 500 --concurrency 32 --chart {CHART}"
)
"""The command of the README's picture."""

_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```\n\n```text\n.*?```", re.DOTALL)


def pages() -> dict[Path, str]:
    """Path and text of every page that is quick to make."""
    texts = {ROOT / name: text for name, text in reference_pages.pages().items()}
    texts |= {path.with_suffix(".out"): run_example(path) for path in EXAMPLES}
    texts |= {ROOT / name: refreshed((ROOT / name).read_text(encoding="utf-8")) for name in WRITTEN_PAGES}
    return texts


def refreshed(page: str) -> str:
    """A page with the output of its commands and of its Python blocks as they are now."""
    page = _BLOCK.sub(lambda found: f"```console\n{_replay(found.group(1))}```", page)
    return _PYTHON.sub(
        lambda found: f"```python\n{found.group(1)}```\n\n```text\n{run_python(found.group(1))}```", page
    )


def _replay(block: str) -> str:
    """Commands after "$ ", each followed by what it prints."""
    out = []
    for line in block.splitlines():
        if not line.startswith("$ "):
            continue
        out.append(line + "\n")
        if line.startswith("$ tokenroof "):
            command, _, cut = line.removeprefix("$ tokenroof ").partition(" | head -n ")
            out += _head(run_command(command.split()), int(cut or 10_000))
    return "".join(out)


def _head(text: str, lines: int) -> list[str]:
    return [f"{line.rstrip()}\n" for line in text.splitlines() if line.strip()][:lines]


def run_command(arguments: list[str]) -> str:
    """What a command prints, errors included, run in the root of the repository."""
    with _in_root(), contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        tokenroof(arguments)
    return out.getvalue()


def run_python(source: str, name: str = "block") -> str:
    """What a piece of Python prints, run in the root of the repository."""
    names = {"__name__": "__main__", "__file__": name}
    with _in_root(), contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, name, "exec"), names)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def run_example(path: Path) -> str:
    """What an example prints."""
    return run_python(path.read_text(encoding="utf-8"), str(path))


@contextlib.contextmanager
def _in_root() -> Iterator[None]:
    before, catalog = Path.cwd(), os.environ.pop("TOKENROOF_CATALOG", None)
    os.chdir(ROOT)
    try:
        yield
    finally:
        os.chdir(before)
        if catalog is not None:
            os.environ["TOKENROOF_CATALOG"] = catalog


def draw_chart() -> None:
    """The picture of the README."""
    run_command(DRAWN.split())


def main(*, quick: bool) -> None:
    """Write every page that has changed; ``quick`` leaves out the accuracy pages."""
    draw_chart()
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    for name in () if quick else OTHER_GENERATORS:
        script = ROOT / "scripts" / name
        if script.exists():
            subprocess.run([sys.executable, str(script)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
