"""What a seed may be, wherever randomness is drawn from one."""

from __future__ import annotations

from ni_platform.errors import ConfigError

LARGEST = 2**32 - 1
"""Of scikit-learn and NumPy's old generator; the others take more."""


def check_seed(name: str, seed: int) -> None:
    """Refuse a seed that some generator would refuse in the middle of the work.

    Raises:
        ConfigError: `seed`, which is called `name`, is negative or too large.

    """
    if not 0 <= seed <= LARGEST:
        raise ConfigError(f"{name} must be a whole number from 0 to {LARGEST}, but is {seed}")
