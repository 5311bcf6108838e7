"""Mutation testing of the core modules: changes one operator or number at a time, runs the tests.

    python -m scripts.mutants --count 100 --seed 1 [MODULE ...]

Prints every mutant that the tests do not notice, and a table. Exits with 1 if less than `GOAL` of
the mutants are caught. The mutants are a random sample with as many of each area;
the same seed selects the same ones.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
GOAL = 0.92
# The time in which a mutant's tests must end, and each of them; one that loops for ever is caught.
_TIMEOUT_S, _TEST_TIMEOUT_S = 900, 60
_TIMEOUT = "timeout"
_UNIT = "not yarn and not spark and not engine and not browser"
# Modules by area, and the tests that are run if the one of the module's own name is not enough.
CORE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "compare": ("emrctl/compare/*.py", ("tests/compare",)),
    "predict": ("emrctl/predict/*.py", ("tests/predict",)),
    "store": (
        "emrctl/runs/store.py",
        (
            "tests/runs/test_store.py",
            "tests/runs/test_damaged_store.py",
            "tests/runs/test_check.py",
        ),
    ),
    "sizing": ("emrctl/aws/spark_conf.py", ("tests/aws", "tests/clusters/test_sizing.py")),
    "event logs": ("emrctl/metrics/eventlog/*.py", ("tests/metrics/eventlog", "tests/metrics")),
    "figures": ("emrctl/metrics/*.py", ("tests/metrics",)),
    "deployment": (
        "emrctl/provision/*.py",
        ("tests/provision/test_decisions.py", "tests/provision"),
    ),
    "failure causes": (
        "emrctl/runs/backends/step_failure.py",
        ("tests/runs/failures/test_recorded.py", "tests/runs/backends"),
    ),
    "signatures": (
        "emrctl/emulator/server/sigv4.py",
        ("tests/emulator/server/test_sigv4.py", "tests/emulator/server/test_malformed_requests.py"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A changed module."""

    area: str
    path: str
    operator: str
    original: str
    code: str

    @property
    def change(self) -> str:
        """The changed lines: path, line number, old and new text."""
        old, new = self.original.splitlines(), self.code.splitlines()
        lines = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]
        number = lines[0].split()[1].lstrip("-").partition(",")[0]
        changed = "\n".join(f"  {line}" for line in lines[1:])
        return f"{self.path}:{number} {self.operator}\n{changed}"

    @property
    def tests(self) -> list[str]:
        """The tests of the area, first those of the module's own name."""
        own = f"test_{Path(self.path).stem}.py"
        folders = [ROOT / test for test in CORE[self.area][1]]
        first = [found for folder in folders for found in sorted(folder.rglob(own))]
        return list(dict.fromkeys(str(one.relative_to(ROOT)) for one in [*first, *folders]))


# Parameters of `dataclass` that only forbid code, which mypy checks.
_FORBIDDING = {"frozen", "kw_only"}


class _Meaning(ast.NodeTransformer):
    """Removes what changes no result: annotations, and what only forbids calls or assignments."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults = [*node.defaults, *filter(None, node.kw_defaults)]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node.func).endswith("dataclass"):
            node.keywords = [one for one in node.keywords if one.arg not in _FORBIDDING]
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _meaning(code: str) -> str:
    return ast.dump(_Meaning().visit(ast.parse(code)))


def _places(path: str) -> Iterator[tuple[str, str, int]]:
    """Yield the path, an operator of Cosmic Ray and the number of a place for it in the module."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes = list(ast_nodes(get_ast((ROOT / path).read_text(encoding="utf-8"))))
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if not operator.arguments():
            count = sum(len(list(operator().mutation_positions(node))) for node in nodes)
            yield from ((path, name, number) for number in range(count))


def _mutant(area: str, path: str, name: str, number: int) -> Mutant | None:
    """Return the mutant of a place; None if it is no valid Python or the same program."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    original = (ROOT / path).read_text(encoding="utf-8")
    code = mutate_code(original, plugins.get_operator(name)(), number)
    if not _differs(code, _meaning(original)):
        return None
    operator = name.rpartition("/")[2]
    return Mutant(area=area, path=path, operator=operator, original=original, code=code)


def _differs(code: str, meaning: str) -> bool:
    try:
        return _meaning(code) != meaning
    except SyntaxError:
        return False


def sample(count: int, seed: int, only: Sequence[str]) -> list[Mutant]:
    """Return random mutants of the core modules, or of those in `only`: as many of each area."""
    found = {
        str(path.relative_to(ROOT)): area
        for area, (pattern, _) in CORE.items()
        for path in sorted(ROOT.glob(pattern))
    }
    unknown = set(only) - found.keys()
    if unknown:
        sys.exit(f"no core modules: {', '.join(sorted(unknown))}; known are {', '.join(found)}")
    areas = sorted({found[path] for path in only or found})
    chosen: list[Mutant] = []
    for area in areas:
        paths = [path for path in only or found if found[path] == area]
        places = [place for path in paths for place in _places(path)]
        random.Random(seed).shuffle(places)  # noqa: S311
        made = (_mutant(area, *place) for place in places)
        chosen += itertools.islice(filter(None, made), -(-count // len(areas)))
    return chosen


def _copy(folder: Path) -> Path:
    """Copy the files that git knows, so that mutants do not change the working tree."""
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _failed(copy: Path, tests: Sequence[str]) -> str | None:
    """Run tests in a copy until one fails; return its id, or None if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    options = [f"--basetemp={copy.parent / f'tests-{copy.name}'}", f"--timeout={_TEST_TIMEOUT_S}"]
    try:
        done = subprocess.run(
            [*command, "-m", _UNIT, *options, *tests],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _TIMEOUT
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode and not found:
        sys.exit(f"pytest exited with code {done.returncode}:\n{done.stdout[-2000:]}")
    return str(found[0]) if found else None


def _survives(mutant: Mutant, copies: SimpleQueue[Path], passing: set[str]) -> bool:
    """Test a mutant; what its tests report must not fail without it.

    `passing` are the tests that were run without a mutant.
    """
    copy = copies.get()
    try:
        (copy / mutant.path).write_text(mutant.code, encoding="utf-8")
        failed = _failed(copy, mutant.tests)
        (copy / mutant.path).write_text(mutant.original, encoding="utf-8")
        if failed not in (None, _TIMEOUT):
            test = failed.partition("[")[0]
            if test not in passing and _failed(copy, [test]):
                sys.exit(f"{failed} fails without a mutant, too")
            passing.add(test)
    finally:
        copies.put(copy)
    print(
        f"{'NOT caught' if failed is None else 'caught by ' + failed}: {mutant.change}", flush=True
    )
    return failed is None


def main(argv: Sequence[str] | None = None) -> int:
    """Test a sample of mutants; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", help="paths of core modules; all by default")
    parser.add_argument("--count", type=int, default=100, help="number of mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(argv)
    chosen = sample(options.count, options.seed, options.modules)
    copies: SimpleQueue[Path] = SimpleQueue()
    passing: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.workers):
            copies.put(_copy(Path(folder) / f"copy{number}"))
        with ThreadPoolExecutor(options.workers) as pool:
            survived = list(pool.map(lambda mutant: _survives(mutant, copies, passing), chosen))
    return _summary(chosen, survived)


def _summary(chosen: Sequence[Mutant], survived: Sequence[bool]) -> int:
    tried = Counter(mutant.area for mutant in chosen)
    missed = Counter(m.area for m, alive in zip(chosen, survived, strict=True) if alive)
    print(f"\n{'area':<16}{'mutants':>8}{'caught':>8}{'share':>8}")
    for area, total in [*tried.items(), ("all", len(chosen))]:
        caught = total - (missed.total() if area == "all" else missed[area])
        print(f"{area:<16}{total:>8}{caught:>8}{caught / total:>8.0%}")
    return 1 if 1 - missed.total() / len(chosen) < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())
