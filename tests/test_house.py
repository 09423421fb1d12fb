"""The house keeps its shape: arrows point one way, nothing heavy loads early, nothing grows out of its room."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("fusion/**/*.py"), *ROOT.glob("actors/**/*.py")])
HEAVY = ("ray", "vllm", "deepspeed", "transformers", "torch", "trl", "datasets")
LONG_FILES: dict[str, str] = {}
"""Path -> why it may have more than 300 lines."""
LONG_FUNCTIONS: dict[str, str] = {}
"""path::name -> why it may have more than 50 lines."""
LAYERS = {
    "cli": 5, "results": 5, "completion": 4, "pipeline": 4, "recipe": 3, "config": 3,
    "stages": 2, "prompts": 1, "generators": 1, "rewards": 1, "selection": 1, "objectives": 1, "merging": 1,
    "schema": 0, "errors": 0, "fingerprint": 0, "location": 0,
}  # fmt: skip
"""Rooms of `fusion` that have an order; a room imports only from rooms at or below its own height."""


def imports(path: Path) -> list[tuple[str, bool]]:
    """(imported module, whether at module level) of a file; imports for type checkers only do not count."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.append((child.module, top))
            visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(path.read_text()), top=True)
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_heavy_is_imported_at_module_level(path: Path) -> None:
    if name(path).startswith("actors/"):
        return
    early = [module for module, top in imports(path) if top and module.split(".")[0] in HEAVY]
    assert not early, f"{name(path)} imports {early} at module level; import inside the function that needs it"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_arrows_point_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    for module, _ in imports(path):
        if module.split(".")[0] == "actors" and parts[0] == "fusion":
            assert parts[1] == "cli.py", f"{name(path)} imports {module}; only fusion/cli.py may"
        if parts[0] == "fusion" and module.startswith("fusion."):
            mine, other = parts[1].removesuffix(".py"), module.split(".")[1]
            if mine in LAYERS and other in LAYERS:
                assert LAYERS[other] <= LAYERS[mine], f"{name(path)} imports {module}, which lies above it"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert name(path) in LONG_FILES or text.count("\n") <= 300, f"{name(path)} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            where = f"{name(path)}::{node.name}"
            assert where in LONG_FUNCTIONS or lines <= 50, f"{where} has {lines} lines"


def test_no_file_is_an_attic() -> None:
    attics = {"utils", "util", "common", "helpers", "misc"}
    assert not [name(path) for path in FILES if attics & {part.removesuffix(".py") for part in path.parts}]


def test_importing_fusion_loads_nothing_heavy() -> None:
    modules = ", ".join(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if path.parts[-2] != "actors"
    )
    code = (
        f"import importlib, sys\nfor m in '{modules}'.split(', '):\n"
        "    if m.startswith('fusion') and not m.endswith('__main__'):\n"
        "        importlib.import_module(m.removesuffix('.__init__'))\n"
        f"print([h for h in {HEAVY!r} if h in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plan_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom fusion.cli import main\ntry:\n    main(['plan', 'experiment=quickstart'])\n"
        f"except SystemExit as ended:\n    print(ended.code, [h for h in {HEAVY!r} if h in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "checkpoint/final" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


def test_help_answers_at_once() -> None:
    """Best of five, against the interpreter's own start: this machine may be busy, the code may not be slow."""

    def best(*command: str) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
            times.append(time.perf_counter() - started)
        return min(times)

    assert best("-m", "fusion", "--help") - best("-c", "pass") < 0.25
