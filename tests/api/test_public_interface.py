"""The package as a name space: quick to import, documented, complete."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ni_platform as ni

HEAVY = ("torch", "mlflow", "ray", "pandas", "numpy", "optuna", "rich")


def test_importing_the_package_imports_nothing_heavy():
    """Whoever only asks for the version does not wait for torch."""
    script = (
        "import sys, ni_platform\n"
        "ni_platform.__version__, dir(ni_platform)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("name", ni.__all__)
def test_every_public_name_is_there_and_documented(name):
    """Its docstring says what it is; methods and properties of a class have one as well."""
    found = getattr(ni, name)
    if name == "__version__":
        return
    assert inspect.getdoc(found)
    if inspect.isclass(found) and found.__module__.startswith("ni_platform.api"):
        for method, member in vars(found).items():
            if not method.startswith("_") and (callable(member) or hasattr(member, "fget")):
                assert inspect.getdoc(member), f"{name}.{method}"


def test_a_notebook_completes_public_names_and_nothing_else():
    """Modules of the package are private."""
    assert dir(ni) == sorted(ni.__all__)


def test_what_is_not_public_is_an_attribute_error():
    """As of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = ni.trian


def test_the_package_says_that_it_is_typed():
    """PEP 561."""
    assert (Path(ni.__file__).parent / "py.typed").exists()
