"""The layout of docs/design.md, kept by a test: imports point downwards and files stay short."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tokenroof"
MAX_LINES = 400

OPEN_TO_ALL = {"errors", "units"}
_DEPLOY_AND_BELOW = {"catalog", "workload", "graph", "perf", "cost", "serve", "deploy"}
ALLOWED = {
    "errors": set(),
    "units": {"errors"},
    "catalog": set(),
    "workload": set(),
    "graph": {"catalog"},
    "perf": {"catalog", "graph"},
    "cost": {"catalog"},
    "serve": {"workload", "perf"},
    "deploy": {"catalog", "workload", "graph", "perf", "cost", "serve"},
    "calibrate": _DEPLOY_AND_BELOW,
    "search": _DEPLOY_AND_BELOW,
    "report": _DEPLOY_AND_BELOW | {"calibrate", "search"},
    "api": _DEPLOY_AND_BELOW | {"calibrate", "search", "report"},
    "cli": {"api", "report"},
    "": {"api"},
}
# report computes nothing: of the rooms below it may use the nouns alone.
REPORT_MODULES = {
    "tokenroof.catalog.core",
    "tokenroof.catalog.tuning",
    "tokenroof.catalog.dtypes",
    "tokenroof.catalog.efficiency",
    "tokenroof.catalog.model",
    "tokenroof.graph.core",
    "tokenroof.workload.core",
    "tokenroof.serve.core",
    "tokenroof.serve.results",
    "tokenroof.deploy.core",
    "tokenroof.calibrate.fitting.core",
    "tokenroof.calibrate.validation.core",
    "tokenroof.calibrate.validation.results",
    "tokenroof.search.answers.core",
    "tokenroof.search.answers.core_result",
    "tokenroof.search.asked",
    "tokenroof.search.core",
    "tokenroof.errors",
    "tokenroof.units",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """First directory or module below the package; "" for the package itself."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Full names of every tokenroof module that a file imports, lazily or for types only included."""
    package = ".".join(("tokenroof", *path.relative_to(PACKAGE).parent.parts))
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("tokenroof.")}


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported_modules(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    here = room_of(path)
    assert here in ALLOWED, f"{here} is no room of docs/design.md"
    rooms = {room for room in rooms_imported(path) if room.isidentifier() and _is_room(room)}
    assert rooms <= ALLOWED[here] | OPEN_TO_ALL | {here}


def _is_room(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) == "report"], ids=lambda p: p.name)
def test_report_computes_nothing(path: Path) -> None:
    modules = {name for name in imported_modules(path) if _module_exists(name)}
    outside = {name for name in modules if not name.startswith("tokenroof.report")}
    assert outside <= REPORT_MODULES | {
        f"tokenroof.{room}"
        for room in ("calibrate.validation", "catalog", "deploy", "graph", "serve", "workload")
    }


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) == "serve"], ids=lambda p: p.name)
def test_serving_sees_time_as_a_step_table_alone(path: Path) -> None:
    perf = {
        name for name in imported_modules(path) if name.startswith("tokenroof.perf") and _module_exists(name)
    }
    assert perf <= {"tokenroof.perf", "tokenroof.perf.table", "tokenroof.perf.flat"}


def _module_exists(name: str) -> bool:
    path = PACKAGE.parent / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize(
    "path",
    [
        p
        for folder in ("src", "tests", "benchmarks", "scripts", "examples")
        for p in (ROOT / folder).rglob("*.py")
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_file_is_a_hall(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_there_is_no_import_cycle_between_modules() -> None:
    graph = {_dotted(path): {m for m in imported_modules(path) if _module_exists(m)} for path in FILES}
    done: set[str] = set()
    stack: list[str] = []

    def visit(name: str) -> None:
        assert name not in stack, " -> ".join([*stack[stack.index(name) :], name])
        if name in done or name not in graph:
            return
        stack.append(name)
        for other in sorted(graph[name]):
            # a package's own __init__ is loaded with its modules; it may not import back
            if other != name:
                visit(other)
        stack.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


def _dotted(path: Path) -> str:
    parts = ["tokenroof", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_repository_stands_alone() -> None:
    this = Path(__file__).resolve()
    offenders = [
        str(path.relative_to(ROOT))
        for folder in ("src", "tests", "benchmarks", "scripts", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if path.resolve() != this and "../shared" in path.read_text(encoding="utf-8")
    ]
    assert offenders == []
