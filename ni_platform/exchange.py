"""All-gather of small tensors on CPUs, fast enough for the forty calls of one training step.

Batch normalization exchanges a few hundred numbers per layer, forward and backward. Gloo hands
such a call from thread to thread and sleeps in between; where a sleeping CPU wakes slowly, as on
virtual machines, that takes milliseconds. Workers of one machine therefore talk through local
sockets, and look for the answer for a while before they sleep.
"""

from __future__ import annotations

import os
import tempfile
import time
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

_SECONDS_TO_LOOK = 0.02


def all_gather(values_N: Tensor) -> Tensor:
    """Return the values of every worker, [W, N] by rank; all workers call this with equal N."""
    if not values_N.is_cuda:
        peers = _Peers.of_this_group()
        if peers.local:
            return peers.all_gather(values_N)
    everyones = [torch.empty_like(values_N) for _ in range(dist.get_world_size())]
    dist.all_gather(everyones, values_N)
    return torch.stack(everyones)


class _Peers:
    """Sockets to the other workers; `local` tells whether all of them are on this machine."""

    _latest: _Peers | None = None

    def __init__(self) -> None:
        self.group = dist.group.WORLD
        self._rank, size = dist.get_rank(), dist.get_world_size()
        with tempfile.TemporaryDirectory(prefix="ni-") as folder:  # only its owner may enter
            address = str(Path(folder) / "socket")
            with Listener(address, "AF_UNIX", backlog=size) as listener:
                addresses = [""] * size
                dist.all_gather_object(addresses, address)
                reachable = [False] * size
                dist.all_gather_object(reachable, all(map(os.path.exists, addresses)))
                self.local = all(reachable)
                self._connections = self._connect(listener, addresses) if self.local else {}
                dist.barrier()  # nobody's address goes before all have connected

    @classmethod
    def of_this_group(cls) -> _Peers:
        """Return the sockets of the process group as it is now; all workers call this."""
        if cls._latest is None or cls._latest.group is not dist.group.WORLD:
            cls._latest = cls()
        return cls._latest

    def _connect(self, listener: Listener, addresses: list[str]) -> dict[int, Connection]:
        connections: dict[int, Connection] = {}
        for peer in range(self._rank):
            connections[peer] = Client(addresses[peer], "AF_UNIX")
            connections[peer].send(self._rank)
        for _ in range(self._rank + 1, len(addresses)):
            connection = listener.accept()
            connections[connection.recv()] = connection
        return connections

    def all_gather(self, values_N: Tensor) -> Tensor:
        mine = values_N.numpy().tobytes()
        for connection in self._connections.values():
            connection.send_bytes(mine)
        everyones = [
            values_N if peer == self._rank else self._receive(peer, values_N.dtype)
            for peer in range(len(self._connections) + 1)
        ]
        return torch.stack(everyones)

    def _receive(self, peer: int, dtype: torch.dtype) -> Tensor:
        connection = self._connections[peer]
        until = time.monotonic() + _SECONDS_TO_LOOK
        while not connection.poll() and time.monotonic() < until:
            pass
        return torch.frombuffer(bytearray(connection.recv_bytes()), dtype=dtype)
