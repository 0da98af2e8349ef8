"""Registered models: their versions, and who is, was and would be champion.

The tag `ni.champion_history` is the truth of who was champion when; the alias `previous` shows its
last entry but one, so that MLflow's page says where a rollback would go. Moved by hand, it counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ni_platform.claims import claimed
from ni_platform.errors import TrackingError
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
"""The version that was champion before the present one: where a rollback goes."""

HISTORY = "ni.champion_history"
_MODEL_NAME = re.compile(r"[\w][\w\-. ]{0,199}")
_LOCK_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a registered model."""

    model_name: str
    version: str
    """A whole number; text, because MLflow's stores do not agree on its type."""
    run_id: str | None
    """The run that logged it; None if it was registered by other means."""
    source: str

    @property
    def uri(self) -> str:
        """The URI to load or serve it from."""
        return f"models:/{self.model_name}/{self.version}"


def check_model_name(model_name: str) -> None:
    """Raise TrackingError for a name that no registered model can have."""
    if not _MODEL_NAME.fullmatch(model_name):
        raise TrackingError(
            f"'{model_name}' cannot name a model: use letters, digits, '-', '_', '.' or spaces."
        )


@contextmanager
def locked(
    store: Store, model_name: str, on_wait: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Let one promotion or rollback of `model_name` at a time change the registry.

    MLflow's registry has no compare-and-set, so the lock is a file: it holds between all processes
    that share a state folder. Between machines, `promote` looks again just before it moves an
    alias. `on_wait` is told for whom this one waits.

    Raises:
        BusyError: Another one, which is named, has not ended for ten minutes.
    """
    check_model_name(model_name)
    key = hashlib.sha256(f"{store.uri} {model_name}".encode()).hexdigest()[:16]
    path = state_folder() / "locks" / f"model-{key}.lock"
    with ExitStack() as stack:
        with store.errors("lock the model registry"):
            model = f"The registered model {model_name}"
            stack.enter_context(claimed(path, model, seconds=_LOCK_SECONDS, on_wait=on_wait))
        yield


def ensure_version(store: Store, model_name: str, run_id: str, model_uri: str) -> Version:
    """Return the version that holds the model of `run_id`, registered on first use."""
    with store.errors(f"register {model_uri} as {model_name}"):
        try:
            store.client.create_registered_model(model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for known in list_versions(store, model_name):
            if known.source == model_uri:
                return known
        return _version(
            store.client.create_model_version(
                model_name,
                source=model_uri,
                run_id=run_id,
                model_id=model_uri.removeprefix("models:/"),
                await_creation_for=None,  # complete when it is created, in every SQL store
            )
        )


def list_versions(store: Store, model_name: str) -> list[Version]:
    """Return all versions of the model."""
    return [_version(entity) for entity in entities(store, model_name)]


def version_tags(store: Store, model_name: str) -> dict[str, dict[str, str]]:
    """Return the tags of each version of the model."""
    return {str(entity.version): dict(entity.tags) for entity in entities(store, model_name)}


def entities(store: Store, model_name: str) -> Iterator[ModelVersion]:
    """Yield MLflow's versions of the model."""
    token = None
    while True:
        page = store.client.search_model_versions(f"name = '{model_name}'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def named_version(store: Store, uri: str) -> Version | None:
    """Return the version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` names; else None.

    Raises:
        TrackingError: There is no such version.
    """
    name = uri.removeprefix("models:/").strip("/")
    if name == uri or ("@" not in name and "/" not in name):
        return None
    with store.errors(f"find the model {uri}"):
        if "@" in name:
            return _version(store.client.get_model_version_by_alias(*name.rsplit("@", 1)))
        return _version(store.client.get_model_version(*name.rsplit("/", 1)))


def champion(store: Store, model_name: str) -> Version | None:
    """Return the version that the alias `champion` names, if there is one."""
    with store.errors(f"read the champion of {model_name}"):
        named = aliases(store, model_name)
        if CHAMPION not in named:
            return None
        return _version(store.client.get_model_version(model_name, named[CHAMPION]))


def aliases(store: Store, model_name: str) -> dict[str, str]:
    """Return the version behind each alias; none of a model that does not exist."""
    try:
        found = store.client.get_registered_model(model_name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: str(version) for alias, version in found.items()}


def make_challenger(store: Store, model_name: str, version: str) -> None:
    """Point the alias `challenger` at `version`."""
    with store.errors(f"set the challenger of {model_name}"):
        store.client.set_registered_model_alias(model_name, CHALLENGER, version)


def make_champion(store: Store, model_name: str, version: str) -> None:
    """Point the alias `champion` at `version`, and `previous` at the one before it.

    `previous` moves first and the history is written last. If this is cut off before `champion`
    has moved, `previous` names the champion itself until the next call; if before the history is
    written, that lacks one entry, which the next call adds, and names no champion that was none.
    """
    with store.errors(f"set the champion of {model_name}"):
        before = champion(store, model_name)
        past = history(store, model_name)
        if before is not None and past[-1:] != [before.version]:
            past.append(before.version)
        _point_previous(store, model_name, _standing(store, model_name, past), version)
        store.client.set_registered_model_alias(model_name, CHAMPION, version)
        if past[-1:] != [version]:
            past.append(version)
        write_history(store, model_name, past)
        if aliases(store, model_name).get(CHALLENGER) == version:
            store.client.delete_registered_model_alias(model_name, CHALLENGER)


def go_back(store: Store, model_name: str, present: str) -> str | None:
    """Make the champion before `present` champion again; return it, or None if there is none.

    The history is written first: cut off after that, the same call repeated does the same.
    """
    with store.errors(f"roll {model_name} back"):
        recorded = history(store, model_name)
        past = _standing(store, model_name, recorded)
        while past and past[-1] == present:
            past.pop()
        # Where `champion` itself was moved by hand, `previous` is of before that.
        named = aliases(store, model_name).get(PREVIOUS)
        if recorded[-1:] == [present] and named not in (None, present, *past[-1:]):
            while past and past[-1] != named:
                past.pop()
            past = past or [str(named)]
        if not past:
            return None
        write_history(store, model_name, past)
        store.client.set_registered_model_alias(model_name, CHAMPION, past[-1])
        _point_previous(store, model_name, past, past[-1])
        return past[-1]


def _standing(store: Store, model_name: str, past: list[str]) -> list[str]:
    """Those of the champions `past` that were not deleted."""
    existing = {version.version for version in list_versions(store, model_name)}
    return [version for version in past if version in existing]


def _point_previous(store: Store, model_name: str, past: list[str], champion: str) -> None:
    """Point the alias `previous` at the last of `past` that is another than the champion."""
    before = next((version for version in reversed(past) if version != champion), None)
    if before is not None:
        store.client.set_registered_model_alias(model_name, PREVIOUS, before)
    elif PREVIOUS in aliases(store, model_name):
        store.client.delete_registered_model_alias(model_name, PREVIOUS)


def history(store: Store, model_name: str) -> list[str]:
    """Return the versions that were champion, oldest first, the present one last."""
    tags = store.client.get_registered_model(model_name).tags
    return list(json.loads(tags.get(HISTORY, "[]")))


def write_history(store: Store, model_name: str, past: list[str]) -> None:
    """Replace the history of champions, of which MLflow keeps 5,000 characters."""
    store.client.set_registered_model_tag(model_name, HISTORY, json.dumps(past[-500:]))


def tag_version(
    store: Store, model_name: str, version: str, tags: Mapping[str, str | None]
) -> None:
    """Set tags of a version; None deletes what an earlier promotion wrote."""
    with store.errors(f"tag version {version} of {model_name}"):
        present = store.client.get_model_version(model_name, version).tags
        for name, value in tags.items():
            if value is not None:
                store.client.set_model_version_tag(model_name, version, name, value)
            elif name in present:
                store.client.delete_model_version_tag(model_name, version, name)


def _version(entity: ModelVersion) -> Version:
    return Version(
        model_name=entity.name,
        version=str(entity.version),
        run_id=entity.run_id or None,
        source=entity.source or "",
    )
