"""Which profile an export fits: by the names in its header, wherever that stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ni_platform.data.importers.exports import sections
from ni_platform.data.importers.exports.files import ExportFile
from ni_platform.data.importers.exports.json_records import JsonRecords
from ni_platform.data.importers.exports.profile import FILE, Profile
from ni_platform.errors import ConfigError, DatasetError

_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Match:
    """How far a file fits a profile."""

    profile: Profile
    columns: Mapping[str, str]
    """Field -> name of the column that holds it."""
    missing: Sequence[str] = field(default_factory=tuple)
    """What the file lacks, in words; nothing where the profile fits."""

    def chosen(self, choices: Sequence[Sequence[str]]) -> tuple[str, ...]:
        """Return the first set of fields that the file has, or none."""
        has = {*self.columns, FILE}
        return next((tuple(names) for names in choices if has.issuperset(names)), ())

    @property
    def why(self) -> str:
        """The evidence in words."""
        names = list(dict.fromkeys(self.columns.values()))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"it has {', '.join(map(repr, names[:_SHOWN]))}{more}"


def recognised(file: ExportFile, known: Mapping[str, Profile], name: str | None = None) -> Match:
    """Return the profile that fits a file: the one of this name, else the one with most columns.

    Raises:
        ConfigError: There is no profile of this name.
        DatasetError: The file lacks what the profile needs, none fits, or several fit alike.
    """
    if name is not None:
        if name not in known:
            raise ConfigError(f"There is no profile {name!r}; there are {', '.join(known)}.")
        match = fit(file, known[name])
        if match.missing:
            raise DatasetError(
                f"{file.name} is no export of the profile {name}: it lacks {_listed(match)}. Check "
                f"the file, or describe it in a profile of your own. {_has(file)}"
            )
        return match
    matches = sorted(
        (fit(file, profile) for profile in known.values()),
        key=lambda match: (len(match.missing), -len(match.columns)),
    )
    best = [match for match in matches if not match.missing]
    if not best:
        near = max(matches, key=lambda match: len(match.columns) / len(match.profile.fields))
        closest = (
            f"The nearest, {near.profile.name} ({near.profile.title}), lacks {_listed(near)}. "
            if near.columns
            else ""
        )
        raise DatasetError(
            f"No profile fits {file.name}. {closest}Describe the file in a profile of your own "
            f"(`ni data profiles`), or name its columns with `ni data import table`. {_has(file)}"
        )
    alike = [match for match in best if len(match.columns) == len(best[0].columns)]
    if len(alike) > 1:
        names = ", ".join(match.profile.name for match in alike)
        raise DatasetError(f"{file.name} fits several profiles alike: say --profile, of {names}.")
    return best[0]


def fit(file: ExportFile, profile: Profile) -> Match:
    """Try a profile on a file."""
    if profile.json is not None:
        return _fit_json(file, profile, profile.json)
    if file.kind == "json":
        return Match(profile=profile, columns={}, missing=("a header, for it is JSON",))
    if profile.sections is not None:
        if not sections.has_sections(file.text, profile.sections):
            return Match(profile=profile, columns={}, missing=("the sections of its arms",))
        return _fit_header(
            sections.labels(sections.section_rows(file.text, profile.sections, file.name)), profile
        )
    tried = [_fit_header(header, profile) for header in file.headers]
    return min(tried, key=lambda match: (len(match.missing), -len(match.columns)))


def _fit_header(header: Iterable[str], profile: Profile) -> Match:
    columns: dict[str, str] = {}
    by_spelling = {_spelling(name): name for name in reversed(list(header)) if name.strip()}
    for name, wanted in profile.fields.items():
        for pattern in wanted.names:
            form = re.compile(re.escape(_spelling(pattern)).replace(r"\*", ".*"))
            found = [real for spelled, real in by_spelling.items() if form.fullmatch(spelled)]
            if found:
                columns[name] = found[-1]
                break
    return Match(profile=profile, columns=columns, missing=_missing(profile, columns))


def _fit_json(file: ExportFile, profile: Profile, spec: JsonRecords) -> Match:
    tops = set(spec.documents)
    lacking = [
        number
        for number, document in enumerate(file.documents, start=1)
        if not tops.intersection(document)
    ]
    wanted = f"one of {', '.join(spec.documents)}"
    if len(lacking) == len(file.documents):
        return Match(profile=profile, columns={}, missing=(f"JSON with {wanted} at its top",))
    # What its rows hold is known when all files are put together.
    columns = {name: item.names[0] for name, item in profile.fields.items() if item.names}
    missing = [f"{wanted} at the top of its document {lacking[0]}"] if lacking else []
    return Match(profile=profile, columns=columns, missing=missing)


def _missing(profile: Profile, columns: Mapping[str, str]) -> list[str]:
    has = {*columns, FILE}
    lacking = [_words(profile, (name,)) for name in profile.required if name not in has]
    successes = [(name,) for name in profile.success.values()]
    for choices in (profile.content, profile.ab_test, successes):
        if len(choices) > 1 and not any(has.issuperset(names) for names in choices):
            lacking.append(" or ".join(_words(profile, names) for names in choices))
    return lacking


def _words(profile: Profile, names: Sequence[str]) -> str:
    columns = (profile.fields[name].names if name in profile.fields else (name,) for name in names)
    return " with ".join(repr(spelled[0]) if spelled else "?" for spelled in columns)


def _spelling(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _listed(match: Match) -> str:
    return ", and ".join(match.missing)


def _has(file: ExportFile) -> str:
    if file.kind == "json":
        tops = sorted({name for document in file.documents for name in document})
        return f"It has {tops} at its top."
    header = max(file.headers, key=len, default=[])
    return f"Its columns are {[name for name in header if name][:20]}."
