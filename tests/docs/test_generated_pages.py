"""Generated pages, outputs on written pages and examples are what the code says now (``make docs``)."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference_pages = _load("reference_pages")
build_docs = _load("build_docs")


def _same(path, text):
    assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)} is out of date: run make docs"


@pytest.mark.parametrize("name", list(reference_pages.pages()))
def test_reference_pages_are_current(name):
    _same(ROOT / name, reference_pages.pages()[name])


@pytest.mark.parametrize("path", build_docs.EXAMPLES, ids=lambda path: path.stem)
def test_examples_print_what_their_out_files_say(path):
    _same(path.with_suffix(".out"), build_docs.run_example(path))


@pytest.mark.parametrize("name", build_docs.WRITTEN_PAGES)
def test_outputs_on_written_pages_are_current(name):
    page = (ROOT / name).read_text(encoding="utf-8")
    assert "```console\n$ " in page
    _same(ROOT / name, build_docs.refreshed(page))


@pytest.mark.parametrize(("name", "command"), list(reference_pages.commands()), ids=lambda item: str(item))
def test_every_command_has_help_and_a_section(name, command):
    assert command.help
    assert f"\n## {name}\n" in (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    for parameter in command.params:
        assert parameter.help, f"{name}: {parameter.name} has no help"


def test_the_glossary_gives_each_definition_word_by_word():
    import tokenroof as tr

    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    for key, metric in tr.estimate("llama-3.1-8b", "h100", batch=1)[0].metrics.items():
        assert f"`{key}`" in page
        assert f"| {metric.unit} | {metric.definition} |" in page


def test_links_between_pages_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_picture_of_the_readme_is_there():
    assert (ROOT / build_docs.CHART).read_text(encoding="utf-8").startswith("<svg")
    assert build_docs.CHART in (ROOT / "README.md").read_text(encoding="utf-8")
