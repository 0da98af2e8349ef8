"""`ni data profiles`: the exports that `ni data import` recognises."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, table


@click.command("profiles")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the exports that `ni data import` recognises, or show the profile NAME.

    Files in the folder profiles/ of the current folder add to those that come with the package.
    """
    from ni_platform.data.importers.exports.profile import USERS, profile_file, profiles

    known = profiles()
    if name is not None:
        click.echo(profile_file(name).read_text(encoding="utf-8"), nl=False)
        return
    rows = [
        (
            profile.name,
            profile.title,
            f"{profile.row}; success: {', '.join(profile.success)}",
            "refused" if profile.refused else profile.assignment or "asked for",
        )
        for profile in known.values()
    ]
    table("Exports", ("profile", "export", "a row is", "arms assigned"), rows)
    console.print(
        f"A file like one of these in {USERS}/ is a profile of your own; "
        "[bold]ni data profiles NAME[/bold] prints one to start from."
    )
