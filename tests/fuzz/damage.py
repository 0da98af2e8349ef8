"""What happens to files on their way: cut, bits flipped, pieces lost, doubled or overwritten."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def damaged(draw: Any, data: bytes) -> bytes:
    """The bytes after one to three mishaps."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        kind = draw(
            st.sampled_from(["cut", "flip", "flip", "byte", "lost", "doubled", "zeros", "more"])
        )
        length = draw(st.integers(1, 16))
        if kind == "cut":
            data = data[:place]
        elif kind == "flip":
            bit = 1 << draw(st.integers(0, 7))
            data = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        elif kind == "byte":
            data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
        elif kind == "lost":
            data = data[:place] + data[place + length :]
        elif kind == "doubled":
            data = data[: place + length] + data[place:]
        elif kind == "zeros":
            data = data[:place] + bytes(length) + data[place + length :]
        else:
            data += draw(st.binary(min_size=1, max_size=16))
    return data
