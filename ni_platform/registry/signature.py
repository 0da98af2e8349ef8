"""Signed models: the files of a logged model beside a signature of them, checked before use.

`ni promote --sign KEY` signs with a private key on disk (an elliptic curve, PEM) in the format of
sigstore's `model-signing`. The signature lies in the model's own folder, so that it goes wherever
the model goes: through the tracking server, by `ni sync`, into the process of `mlflow models
serve`. Where the environment variable `NI_VERIFY_KEY` names a public key, no model is used without
a signature that fits it: `resolve_model` checks for the commands and the dashboard, the logged
model's own code (`scoring_model.py`) for MLflow. That code is itself among the signed files; who
may replace it can replace its check, and only a check by other code, as `resolve_model`'s, or
`model_signing verify key`, tells.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ni_platform.errors import ConfigError, TrackingError, clause

VERIFY_KEY = "NI_VERIFY_KEY"
SIGNATURE = "model.sig"
"""Name of the signature in the folder of a logged model."""

_IGNORED = (SIGNATURE, "registered_model_meta", "__pycache__")
"""What is no file of the model: MLflow notes beside one that it loads how it was called, Python
what it compiled."""
_DIGESTS = re.compile(r": Expected 'Digest.*?', Actual 'Digest.*?\)'")
"""What the library's message says beside a file's name."""


def sign(folder: Path, private_key: str, signature: Path) -> None:
    """Write the signature of the model in `folder`.

    Raises:
        ConfigError: The key cannot be read, is none, or `model-signing` is not installed.
    """
    signing = _library("signing")
    key = _existing(private_key, "--sign")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"--sign must name a private key of an elliptic curve as PEM without a password, but"
            f" {private_key} is none ({error}). `openssl ecparam -name prime256v1 -genkey -noout"
            " -out KEY.pem` makes one."
        ) from error
    signer.set_hashing_config(_hashing()).sign(folder, signature)


def is_asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether models are used with a signature only."""
    return bool(environment.get(VERIFY_KEY))


def verify(folder: Path, model: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse the model in `folder` unless its signature fits the key that `NI_VERIFY_KEY` names.

    Without that variable nothing is checked.

    Raises:
        ConfigError: The key cannot be read or is none, or `model-signing` is not installed.
        TrackingError: There is no signature, another key made it, or a file has changed since.
    """
    named = environment.get(VERIFY_KEY, "")
    if not is_asked_for(environment):
        return
    key = _existing(named, VERIFY_KEY)
    if not (folder / SIGNATURE).is_file():
        raise TrackingError(
            f"{model} is not signed, and {VERIFY_KEY} asks for a signature: promote its run with"
            " --sign KEY, or unset that variable."
        )
    verifying = _library("verifying")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{VERIFY_KEY} must name a public key of an elliptic curve as PEM, but {named} is none"
            f" ({error}). `openssl ec -in KEY.pem -pubout` prints it."
        ) from error
    try:
        verifier.set_hashing_config(_hashing()).verify(folder, folder / SIGNATURE)
    # Whatever is wrong with a signature: the library has no error of its own.
    except Exception as error:
        reason = _DIGESTS.sub("", str(error)) or "the signature was changed"
        raise TrackingError(
            f"The signature of {model} does not fit its files and the key {named}:"
            f" {clause(reason)}."
            " Do not use this model; restore its files, or promote its run again with --sign KEY."
        ) from error


def _hashing() -> Any:
    config = _library("hashing").Config()
    return config.set_ignored_paths(paths=[Path(name) for name in _IGNORED], ignore_git_paths=False)


def _existing(path: str, option: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{option} names {path}, which is no file: correct the path.")
    return file


def _library(module: str) -> Any:
    try:
        return importlib.import_module(f"model_signing.{module}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'Signatures need the package {error.name}: pip install "ni-platform[sign]".'
        ) from error
