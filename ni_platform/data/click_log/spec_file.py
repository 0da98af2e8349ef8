"""`log.yaml` as it is written: what YAML takes for numbers, dates or booleans stays text."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ni_platform.errors import DatasetError

_NUMBERS = {
    "min_impressions", "min_level_impressions", "max_rejected", "below", "above",
}  # fmt: skip
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d+)?")
_TAG = "tag:yaml.org,2002:"
_TYPED = {f"{_TAG}{kind}" for kind in ("int", "float", "bool", "timestamp")}


def texts_and_numbers(data: bytes, name: str) -> Any:
    """Read YAML in which only the values that must be numbers are numbers.

    YAML knows `NO` as false, `1.10` as 1.1, `007` as 7 and `12:30` as 750; as names of columns and
    levels they are texts.

    Raises:
        DatasetError: `name` is no YAML, or gives a key twice.

    """
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        _keep_texts(node, name, "", [])
        return None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error


def _keep_texts(node: yaml.Node | None, name: str, key: str, above: list[yaml.Node]) -> None:
    if node in above:
        raise DatasetError(f"{name} is not valid YAML: {key} holds itself.")
    if isinstance(node, yaml.ScalarNode):
        number = key in _NUMBERS and _PLAIN_NUMBER.fullmatch(node.value)
        if node.style is None and node.tag in _TYPED and not number:
            node.tag = f"{_TAG}str"
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _keep_texts(item, name, key, [*above, node])
    elif isinstance(node, yaml.MappingNode):
        keys = [field.value for field, _ in node.value]
        for field, value in node.value:
            if keys.count(field.value) > 1:
                raise DatasetError(f"{name} gives {field.value!r} more than once: keep one.")
            _keep_texts(field, name, "", [*above, node])
            _keep_texts(value, name, str(field.value), [*above, node])
