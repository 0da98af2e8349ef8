"""Promotion: a run's model goes through the gates into the registry; rollback brings one back.

The registry itself tells why a version is where it is. Tags of a version: `ni.promotion`
(promoted, forced, refused, rolled_back), `ni.gate.NAME` ("passed: ..." or "failed: ..."),
`ni.gates` (all figures as JSON), `ni.gates_off` (names), `ni.forced_reason`,
`ni.previous_champion`, `ni.promoted_at`, `ni.replaced_by`, `ni.replaced_at`. A version's
description is its model card, that of the model the history of its versions.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ni_platform.errors import PromotionRefusedError, TrackingError, clause
from ni_platform.registry import versions
from ni_platform.registry.card_facts import CardFacts
from ni_platform.registry.challenger import Challenger
from ni_platform.registry.gate import Gate
from ni_platform.registry.gates import judge
from ni_platform.registry.gates_config import GatesConfig, gates_in_use
from ni_platform.registry.model_card import write_card
from ni_platform.registry.model_history import write_history
from ni_platform.registry.model_source import model_uri_of
from ni_platform.registry.signing import signed
from ni_platform.tracking.run_queries import RunSummary, read_run
from ni_platform.tracking.store import Store, utc_now

_RACES = 5


@dataclass(frozen=True, kw_only=True)
class PromotionReport:
    """What a promotion decided and on which figures."""

    model_name: str
    version: str
    run_id: str
    promoted: bool
    """Whether this version is the champion now."""
    gates: tuple[Gate, ...]
    gates_off: tuple[str, ...] = ()
    """Names of the gates that were not asked."""
    forced_reason: str | None = None
    """Why it became champion although a gate refused it."""
    previous_champion: str | None = None
    """The version that was champion before this call."""
    already_champion: bool = False
    """Whether it was the champion before this call, which then changed nothing."""

    @property
    def model_uri(self) -> str:
        """The URI to load or serve this version from."""
        return f"models:/{self.model_name}/{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "model": self.model_name,
            "version": self.version,
            "model_uri": self.model_uri,
            "run_id": self.run_id,
            "promoted": self.promoted,
            "already_champion": self.already_champion,
            "forced_reason": self.forced_reason,
            "previous_champion": self.previous_champion,
            "gates": [gate.to_json() for gate in self.gates],
            "gates_off": list(self.gates_off),
        }

    def require(self) -> None:
        """Raise PromotionRefusedError, naming the gates, unless the version is champion."""
        if not self.promoted:
            failed = "; ".join(
                f"{gate.name}: {clause(gate.explanation)}" for gate in self.gates if not gate.passed
            )
            raise PromotionRefusedError(
                f"{self.model_name} version {self.version} stays challenger. {failed}."
                " `--force REASON` makes it champion all the same and records the reason."
            )


@dataclass(frozen=True, kw_only=True)
class RollbackReport:
    """Which version is champion again."""

    model_name: str
    version: str
    replaced: str
    """The version that was champion until now."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"model": self.model_name, "version": self.version, "replaced": self.replaced}


def promote(
    store: Store,
    run_id: str,
    model_name: str,
    *,
    force: str | None = None,
    sign: str | None = None,
    gates: str | Path | None = None,
    on_event: Callable[[str], None] = lambda text: None,
) -> PromotionReport:
    """Register the run's model as challenger and make it champion if every gate passes.

    The same run always has the same version, however often it is promoted. With `force`, a reason
    in words, it becomes champion although a gate refuses; the reason is recorded. With `sign`, the
    path of a private key, a champion's files are signed. `gates` is the file that says which gates
    are asked and their thresholds; if None, `gates.yaml` of the current folder, if there is one.
    Waits for another promotion or rollback of the same model. `on_event` is told for whose, and
    which file of gates counts.

    Raises:
        BusyError: Another one has not ended for ten minutes.
        ConfigError: The key or the file of gates cannot be used.
        TrackingError: The run did not finish or logged no model, the name or the reason is empty,
            or the store fails. A gate that refuses is no error: see the report.
    """
    if force is not None and not force.strip():
        raise TrackingError("A forced promotion needs a reason in words: --force 'REASON'.")
    config, file = gates_in_use(gates)
    if file is not None:
        on_event(f"the gates are those of {file}")
    run = _finished(store, run_id)
    model_uri = model_uri_of(store, run_id)
    facts = CardFacts.read(store, run_id, model_uri)
    with (
        signed(store, model_uri, sign) as store_signature,
        versions.locked(store, model_name, on_event),
    ):
        version = versions.ensure_version(store, model_name, run_id, model_uri)
        for _ in range(_RACES):
            champion = versions.champion(store, model_name)
            challenger = Challenger(
                store=store,
                run=run,
                model_uri=model_uri,
                metrics=facts.metrics,
                champion=champion,
            )
            report = _report(challenger, version, config, force)
            if report.promoted:
                store_signature(version)
            if report.already_champion:
                return report
            # Another machine, which the lock does not hold, may have promoted meanwhile.
            if _same(champion, versions.champion(store, model_name)):
                _write(store, report, facts)
                return report
    raise TrackingError(
        f"The champion of {model_name} changed {_RACES} times while run {run_id} was compared with"
        " it. Promote again when the other promotions are done."
    )


def rollback(
    store: Store, model_name: str, *, on_wait: Callable[[str], None] = lambda text: None
) -> RollbackReport:
    """Make the previous champion the champion again; repeated calls go further back.

    Waits for a promotion or another rollback of the model, and tells `on_wait` for whose.

    Raises:
        BusyError: It has not ended for ten minutes.
        TrackingError: The model has no champion, or none before the present one.
    """
    with versions.locked(store, model_name, on_wait):
        present = versions.champion(store, model_name)
        if present is None:
            raise TrackingError(
                f"There is no champion of '{model_name}' to roll back. `ni promote RUN_ID --model"
                f" {model_name}` makes one; `ni ui` lists the registered models."
            )
        target = versions.go_back(store, model_name, present.version)
        if target is None:
            raise TrackingError(
                f"Version {present.version} is the first champion of {model_name}: there is"
                " none to go back to. Promote another run in its place."
            )
        now = utc_now()
        versions.tag_version(
            store,
            model_name,
            present.version,
            {
                "ni.promotion": "rolled_back",
                "ni.replaced_by": target,
                "ni.replaced_at": now,
                "ni.replaced_person": _person(),
            },
        )
        versions.tag_version(
            store,
            model_name,
            target,
            {
                "ni.replaced_by": None,
                "ni.replaced_at": None,
                "ni.replaced_person": None,
                "ni.restored_at": now,
                "ni.restored_after": present.version,
            },
        )
        write_history(store, model_name)
    return RollbackReport(model_name=model_name, version=target, replaced=present.version)


def _finished(store: Store, run_id: str) -> RunSummary:
    run = read_run(store, run_id)
    if run.status != "FINISHED":
        raise TrackingError(
            f"Run {run_id} ({run.run_name}) is {run.status}; only a FINISHED run can be promoted."
            " Resume it or train again."
        )
    return run


def _report(
    challenger: Challenger, version: versions.Version, config: GatesConfig, force: str | None
) -> PromotionReport:
    gates, champion = judge(challenger, config), challenger.champion
    already = _same(champion, version)
    passed = all(gate.passed for gate in gates)
    return PromotionReport(
        model_name=version.model_name,
        version=version.version,
        run_id=challenger.run.run_id,
        promoted=already or passed or force is not None,
        gates=gates,
        gates_off=config.off,
        forced_reason=None if passed or already else force,
        previous_champion=champion.version if champion is not None else None,
        already_champion=already,
    )


def _write(store: Store, report: PromotionReport, facts: CardFacts) -> None:
    """Write the reasons first and move the aliases last: an alias never lacks its reasons."""
    name, version = report.model_name, report.version
    now = utc_now()
    word = "refused" if not report.promoted else "forced" if report.forced_reason else "promoted"
    tags: dict[str, str | None] = {
        f"ni.gate.{gate.name}": f"{'passed' if gate.passed else 'failed'}: {gate.explanation}"
        for gate in report.gates
    }
    # A gate that is off now may have been on when the version was judged before.
    tags |= {f"ni.gate.{gate}": None for gate in report.gates_off}
    tags |= {
        "ni.gates": json.dumps([gate.to_json() for gate in report.gates]),
        "ni.gates_off": ", ".join(report.gates_off) or None,
        "ni.promotion": word,
        "ni.run_id": report.run_id,
        "ni.judged_at": now,
        "ni.judged_by": _person(),
        "ni.forced_reason": report.forced_reason,
        "ni.compared_with": report.previous_champion,
    }
    if report.promoted:
        tags |= {
            "ni.promoted_at": now,
            "ni.previous_champion": report.previous_champion,
            "ni.replaced_by": None,
            "ni.replaced_at": None,
            "ni.replaced_person": None,
        }
    versions.tag_version(store, name, version, tags)
    write_card(store, name, version, facts)
    versions.make_challenger(store, name, version)
    if report.promoted:
        versions.make_champion(store, name, version)
    if report.promoted and report.previous_champion is not None:
        versions.tag_version(
            store,
            name,
            report.previous_champion,
            {"ni.replaced_by": version, "ni.replaced_at": now, "ni.replaced_person": _person()},
        )
    write_history(store, name)


def _same(one: versions.Version | None, other: versions.Version | None) -> bool:
    return (one and one.version) == (other and other.version)


def _person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
