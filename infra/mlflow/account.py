"""Makes an account of the team's tracking server, or gives one more rights; for administrators.

    python account.py alice                    may train: record runs in every experiment
    python account.py alice --promotes ads     may promote to the registered model `ads` as well
    python account.py carol --reads-only       sees everything, changes nothing

The server is MLFLOW_TRACKING_URI, the administrator MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD. The new account's password is asked for, or read from a pipe.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from mlflow.exceptions import MlflowException, RestException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response


@click.command()
@click.argument("name")
@click.option("--promotes", multiple=True, metavar="MODEL", help="Registered model; any number.")
@click.option("--reads-only", is_flag=True, help="Grant nothing; seeing needs no grant.")
def command(name: str, promotes: tuple[str, ...], reads_only: bool) -> None:
    """Make the account NAME if there is none, and grant it what it needs."""
    try:
        if not _exists(name):
            _call("2.0/mlflow/users/create", username=name, password=_password(name))
            click.echo(f"{name} has an account")
        if not reads_only:
            _grant(name, "experiment", "*", "EDIT")
            click.echo(f"{name} may record runs")
        for model in promotes:
            # A promotion moves aliases, and MLflow lets only who manages a model take one away.
            _grant(name, "registered_model", model, "MANAGE")
            click.echo(f"{name} may promote to {model}")
    except MlflowException as error:
        if error.error_code == "PERMISSION_DENIED":
            raise click.ClickException("only an administrator may make accounts") from error
        raise click.ClickException(error.message) from error


def _grant(name: str, kind: str, resource: str, permission: str) -> None:
    try:
        _call(
            "3.0/mlflow/users/permissions/grant",
            username=name,
            resource_type=kind,
            resource_id=resource,
            permission=permission,
        )
    except RestException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _exists(name: str) -> bool:
    try:
        _call("2.0/mlflow/users/get", "GET", username=name)
    except RestException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))


def _call(endpoint: str, method: str = "POST", **values: Any) -> None:
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        raise click.UsageError("set MLFLOW_TRACKING_URI to the server's address")
    body = {"params": values} if method == "GET" else {"json": values}
    path = f"/api/{endpoint}"
    verify_rest_response(http_request(get_default_host_creds(server), path, method, **body), path)


if __name__ == "__main__":
    command()
