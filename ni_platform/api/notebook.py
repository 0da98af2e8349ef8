"""Where the code runs: in a notebook, which shows HTML, or anywhere else."""

from __future__ import annotations

import logging
import sys
from typing import Any

# When it is imported, Ray tells a notebook to install widgets, which nothing here needs.
logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose cells show HTML."""
    shells = sys.modules.get("ipykernel.zmqshell")
    if shells is None:
        return False
    from IPython import get_ipython

    return isinstance(get_ipython(), shells.ZMQInteractiveShell)


def show(shown: Any) -> None:
    """Show an object below the cell, or print it where there is none."""
    if in_notebook():
        from IPython.display import display

        display(shown)
    else:
        print(shown)  # noqa: T201  # this is what a terminal is shown
