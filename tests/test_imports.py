"""Import rules: layers, heavy libraries, no cycles, fast start-up."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emrctl"

# From top to bottom; a module imports modules of its own layer and those below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("emrctl.cli",),
    ("emrctl.api",),
    ("emrctl.compare", "emrctl.predict", "emrctl.tune"),
    ("emrctl.runs", "emrctl.cleanup"),
    ("emrctl.provision",),
    ("emrctl.standalone",),
    ("emrctl.remote", "emrctl.doctor", "stacks"),
    ("emrctl.clusters",),
    ("emrctl.engine", "emrctl.cost"),
    ("emrctl.metrics", "emrctl.emulator", "emrctl.spec", "emrctl.datasets"),
    ("emrctl.aws", "emrctl.ports"),
    ("emrctl.errors", "emrctl.paths", "emrctl.redact", "emrctl.bundled"),
)
# Libraries, and the packages that import them.
LIBRARY_USERS = {
    "boto3": ("emrctl.aws.target", "emrctl.emulator"),
    "pulumi": ("emrctl.engine", "stacks"),
    "pulumi_aws": ("emrctl.engine", "stacks"),
    "moto": ("emrctl.emulator",),
    "pyspark": ("emrctl.emulator",),
    "paramiko": ("emrctl.runs.backends.standalone", "emrctl.remote"),
    "typer": ("emrctl.cli",),
    "rich": ("emrctl.cli",),
}


def _modules() -> Iterator[tuple[str, Path]]:
    for folder in (PACKAGE, ROOT / "stacks"):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), path


@functools.cache
def _imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Return every imported module, and whether it is imported at module level."""
    return tuple(_each_import(ast.parse(path.read_text())))


def _each_import(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) not in lazy


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _layer(module: str) -> int | None:
    for index, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return index
    return None


MODULES = dict(_modules())


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_its_layer_and_lower_ones(module: str) -> None:
    own = _layer(module)
    for imported, _ in _imports(MODULES[module]):
        below = _layer(imported)
        if own is not None and below is not None:
            assert below >= own, f"{module} imports {imported}, of a higher layer"


@pytest.mark.parametrize("module", MODULES)
def test_module_has_a_layer(module: str) -> None:
    assert module == "emrctl" or _layer(module) is not None


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_heavy_library_only_where_allowed(module: str) -> None:
    for imported, _ in _imports(MODULES[module]):
        allowed = LIBRARY_USERS.get(imported.split(".")[0])
        if allowed is not None:
            assert any(module == user or module.startswith(f"{user}.") for user in allowed), (
                f"{module} imports {imported}"
            )


def test_emulator_is_imported_only_by_local_commands() -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name.startswith("emrctl.emulator") for name, _ in _imports(path))
        and not module.startswith("emrctl.emulator")
    }
    assert users <= {
        "emrctl.cli.local",
        "emrctl.cli.local_fault",
        "emrctl.api",
    }  # `emrctl local`, and the same in the library


def test_jobs_import_neither_emrctl_nor_stacks() -> None:
    for path in (ROOT / "jobs").rglob("*.py"):
        for imported, _ in _imports(path):
            assert not imported.startswith(("emrctl", "stacks")), f"{path.name} imports {imported}"


def test_modules_have_no_import_cycles() -> None:
    graph = {
        module: {
            imported
            for name, _ in _imports(path)
            for imported in (name, name.rpartition(".")[0])
            if imported in MODULES and imported != module
        }
        for module, path in MODULES.items()
    }
    seen: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module not in seen:
            for inner in graph[module]:
                visit(inner, (*trail, module))
            seen.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_start_up_imports_nothing_heavy(argument: str) -> None:
    code = (
        "import sys; from emrctl.cli.__main__ import main; main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, check=True
    )
    heavy = {"typer", "rich", "pydantic", "boto3", "pulumi", "moto", "yaml", "numpy"}
    assert heavy.isdisjoint(done.stderr.split())


def test_loose_modules_are_few() -> None:
    loose = {path.stem for path in (ROOT / "emrctl").glob("*.py")} - {"__init__"}
    assert loose == {"bundled", "doctor", "errors", "paths", "ports", "redact"}
