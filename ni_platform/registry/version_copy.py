"""Registered versions of copied runs, on a tracking server whose champion keeps its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from ni_platform.registry import versions
from ni_platform.registry.card_facts import CardFacts
from ni_platform.registry.copied_ids import CopiedIds, every, place_of
from ni_platform.registry.model_card import write_card
from ni_platform.registry.model_copy import copies_of_models
from ni_platform.registry.model_history import write_history
from ni_platform.registry.run_copy import SYNCED_AT, is_whole
from ni_platform.tracking.store import Store, utc_now

_NUMBERS = {"ni.previous_champion", "ni.compared_with", "ni.replaced_by", "ni.restored_after"}
"""Tags that name another version of the model."""
_OF_THE_PLACE = {versions.HISTORY}
"""Tags of a model that tell of its versions by their numbers."""


@dataclass(frozen=True, kw_only=True)
class CopiedVersion:
    """A version that was registered on the server."""

    model_name: str
    version: str
    """Its number where it came from."""
    copy: str
    """Its number on the server."""


@dataclass(frozen=True, kw_only=True)
class VersionCopier:
    """Registers, on a server, the versions of runs that were copied to it."""

    source: Store
    target: Store
    ids: CopiedIds
    on_note: Callable[[str], None]
    """Told what was left as it is, and why."""
    on_wait: Callable[[str], None]

    def copy(self) -> list[CopiedVersion]:
        """Register what is not there yet; return that.

        Raises:
            TrackingError: The server does not answer, or does not permit it.
        """
        with self.source.errors("list the registered models"):
            models = every(self.source.client.search_registered_models)
        return [new for model in models for new in self._copy_model(model)]

    def _copy_model(self, model: RegisteredModel) -> list[CopiedVersion]:
        name = model.name
        with self.source.errors(f"list the versions of {name}"):
            entities = sorted(
                versions.entities(self.source, name), key=lambda entity: int(entity.version)
            )
        with self.target.errors(f"find the copies of {name}"):
            copied = {str(entity.version): self._model_of(entity) for entity in entities}
        wanted = [entity for entity in entities if copied[str(entity.version)]]
        if not wanted:
            return []
        new = []
        numbers: dict[str, str] = {}
        with (
            versions.locked(self.target, name, self.on_wait),
            self.target.errors(f"register {name}"),
        ):
            present = set(versions.version_tags(self.target, name))
            for entity in wanted:
                number = str(entity.version)
                run_id, uri = copied[number] or ("", "")
                version = versions.ensure_version(self.target, name, run_id, uri)
                numbers[number] = version.version
                if version.version not in present:
                    new.append(CopiedVersion(model_name=name, version=number, copy=version.version))
            for entity in wanted:
                self._describe(entity, numbers)
            self._describe_model(model)
            self._name(model, numbers)
            write_history(self.target, name)
        return new

    def _model_of(self, entity: ModelVersion) -> tuple[str, str] | None:
        """Return run and URI of the copy of a version's model; None if it was not copied."""
        run_id = self.ids.run(entity.run_id) if entity.run_id else None
        run = None if run_id is None else self.target.client.get_run(run_id)
        if run is None or not is_whole(run):
            return None
        known = copies_of_models(self.target, run).get((entity.source or "").split("/")[-1])
        return None if known is None else (run.info.run_id, f"models:/{known.model_id}")

    def _describe(self, entity: ModelVersion, numbers: dict[str, str]) -> None:
        """Give a version its tags and card, once: later it is judged where it is."""
        name, number = entity.name, numbers[str(entity.version)]
        there = self.target.client.get_model_version(name, number)
        if SYNCED_AT in there.tags:
            return
        tags = {tag: self._tag(tag, text, numbers) for tag, text in entity.tags.items()}
        versions.tag_version(self.target, name, number, tags)
        if entity.description:
            text = self.ids.rewritten(entity.description)
            self.target.client.update_model_version(name, number, text)
        facts = CardFacts.read(self.target, there.run_id, there.source)
        write_card(self.target, name, number, facts)
        versions.tag_version(self.target, name, number, {SYNCED_AT: utc_now()})

    def _tag(self, tag: str, text: str, numbers: dict[str, str]) -> str:
        if tag in _NUMBERS:
            return numbers.get(text, f"{text} of {place_of(self.source)}")
        return self.ids.rewritten(text)

    def _describe_model(self, model: RegisteredModel) -> None:
        there = self.target.client.get_registered_model(model.name)
        for tag, text in model.tags.items():
            if tag not in there.tags and tag not in _OF_THE_PLACE:
                self.target.client.set_registered_model_tag(model.name, tag, text)
        if model.description and not there.description:
            self.target.client.update_registered_model(model.name, model.description)

    def _name(self, model: RegisteredModel, numbers: dict[str, str]) -> None:
        """Set the aliases, unless the server's model has a champion of its own."""
        name = model.name
        there = versions.aliases(self.target, name)
        wanted = {
            alias: numbers[str(version)]
            for alias, version in model.aliases.items()
            if str(version) in numbers
        }
        champion = there.get(versions.CHAMPION)
        if champion not in (None, wanted.get(versions.CHAMPION)):
            self.on_note(
                f"{name}: version {champion} stays champion on the server; `ni promote RUN --model"
                f" {name}` there compares a copied run with it"
            )
            return
        if champion is None and versions.CHAMPION in wanted:
            past = [numbers[one] for one in versions.history(self.source, name) if one in numbers]
            versions.write_history(self.target, name, past)
        for alias, version in wanted.items():
            if alias not in there:
                self.target.client.set_registered_model_alias(name, alias, version)
