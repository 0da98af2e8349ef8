"""Libraries are used by their public names: an upgrade may change all others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ni_platform"
FILES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTED = {"_exit", "_replace", "_asdict", "_fields"}
"""Of Python itself, whose documentation tells them in spite of their underscore."""


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def own_names() -> set[str]:
    """Private names that this package gives to functions, classes, attributes and fields."""
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
            elif isinstance(node, ast.Assign):
                found |= {name.id for name in node.targets if isinstance(name, ast.Name)}
    return found


def private_names(text: str, own: set[str]) -> list[str]:
    """Private names of others that a module imports or reads, with their lines."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            names = (node.module or "").split(".")
            if names[0] != "ni_platform":
                names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [node.attr] if node.attr not in own | DOCUMENTED else []
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("attr"):
            names = [str(a.value) for a in node.args[1:2] if isinstance(a, ast.Constant)]
            names = [name for name in names if name not in own]
        found += [f"line {node.lineno}: {name}" for name in names if is_private(name)]
    return found


@pytest.fixture(scope="module", name="own")
def names_of_this_package() -> set[str]:
    """Found once."""
    return own_names()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_private_name_of_a_library_is_used(file, own):
    """Neither MLflow's, Optuna's, Ray's nor another's."""
    assert private_names(file.read_text(encoding="utf-8"), own) == []


@pytest.mark.parametrize(
    "text",
    [
        "from ray._private.state import state",
        "import ray._private.state",
        "from optuna.trial import _state",
        "client._tracking_client.store",
        "getattr(client, '_tracking_client', None)",
    ],
)
def test_a_private_name_is_found(text):
    """Each way in which one can be used."""
    assert len(private_names(text, {"_ours"})) == 1
    assert private_names("import _thread; self._ours; os._exit(1)", {"_ours"}) == [
        "line 1: _thread"
    ]
