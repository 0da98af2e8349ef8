"""Small tensors go round three workers, again in a second process group."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ni_platform import exchange

WORKERS = 3
ROUNDS = 200


def work(rank: int, folder: Path) -> None:
    """Gather numbers that tell who sent them in which round; leave what came in a file."""
    torch.set_num_threads(1)
    seen = []
    for group in range(2):
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/{group}", rank=rank, world_size=WORKERS
        )
        seen += [
            exchange.all_gather(torch.tensor([1000.0 * group + turn, rank]))
            for turn in range(ROUNDS)
        ]
        assert exchange._Peers.of_this_group().local
        dist.barrier()
        dist.destroy_process_group()
    torch.save(torch.stack(seen), folder / f"{rank}.pt")


def test_every_worker_gets_the_values_of_all_by_rank(tmp_path):
    """[W, N] holds worker r's values in row r, round after round."""
    mp.spawn(work, (tmp_path,), nprocs=WORKERS)

    turns = torch.cat([torch.arange(ROUNDS), 1000 + torch.arange(ROUNDS)]).float()
    ranks = torch.arange(WORKERS).float()
    expected = torch.stack(
        [turns[:, None].expand(-1, WORKERS), ranks.expand(len(turns), -1)], dim=2
    )
    for rank in range(WORKERS):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), expected)
