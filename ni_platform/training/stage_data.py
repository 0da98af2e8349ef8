"""The contents that a stage trains and validates on, and which of them meet in a step."""

from __future__ import annotations

from dataclasses import dataclass

from ni_platform.data.loading import Rows, Source, divide, plan_batches, whole_groups
from ni_platform.training.config import TrainingConfig

_NAMED_CONTENTS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class StageData:
    """Where the contents come from and which are for what; row numbers of the dataset."""

    source: Source
    train_rows: Rows
    validation_rows: Rows
    """May be empty: then nothing is monitored and the last epoch's weights are kept."""

    def plan(
        self, config: TrainingConfig, workers: int, seed: int, epoch: int
    ) -> list[list[list[Rows]]]:
        """Return the rows to train on in an epoch, by step, worker and micro-batch.

        A/B tests stay whole in a micro-batch if the loss compares their contents, unless they
        are larger than it.
        """
        codes = self.source.ab_test_codes if config.loss.needs_whole_tests else None
        groups = None if codes is None else codes[self.train_rows]
        steps = plan_batches(groups, len(self.train_rows), config.batch_size, workers, seed, epoch)
        plan = []
        for shares in steps:
            rows = [self.train_rows[share] for share in shares]
            # As many passes on each worker: BatchNorm talks to all of them in every pass.
            passes = -(-max(map(len, rows)) // (config.micro_batch_size or len(self.train_rows)))
            passes = min(passes, *map(len, rows))
            plan.append(
                [
                    divide(whole_groups(share, codes), passes) if passes > 1 else [share]
                    for share in rows
                ]
            )
        return plan

    def names(self, rows: Rows) -> str:
        """Name the contents of rows for a message, the first forty of them."""
        ids = self.source.content_ids(rows)
        more = len(ids) - _NAMED_CONTENTS
        return ", ".join(ids[:_NAMED_CONTENTS]) + (f" and {more} more" if more > 0 else "")
