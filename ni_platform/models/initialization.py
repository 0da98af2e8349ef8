"""Initial weights of a network's part that do not depend on which other parts are built."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def own_stream(part: str) -> Iterator[None]:
    """Draw random numbers inside from a stream that follows from torch's seed and `part`'s name.

    So a network without one of its encoders starts from the same other weights, and changing the
    width of one part leaves the initial weights of the others as they are. The stream around the
    block goes on as if nothing had been drawn.
    """
    entropy = np.random.SeedSequence([torch.initial_seed() % 2**64, zlib.crc32(part.encode())])
    (seed,) = entropy.generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[]):
        # Networks are built on the CPU: the generators of GPUs are left alone.
        torch.default_generator.manual_seed(int(seed) % 2**63)
        yield
