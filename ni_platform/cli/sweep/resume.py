"""`ni sweep resume`: go on with a sweep."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, json_option
from ni_platform.cli.sweep.options import storage_option


@click.command("resume")
@click.argument("name")
@storage_option
@click.option("--allow-failed-checks", is_flag=True, help="Sweep although data checks failed.")
@json_option
def command(name: str, storage: str | None, allow_failed_checks: bool, as_json: bool) -> None:
    """Go on with sweep NAME, whatever ended it; one that was submitted is sent again.

    Trials that had ended stay; those under way are trained again; results that the tracking store
    lacks are written to it. A sweep that was submitted goes on with the definitions of the folder
    that it was sent from, as they are now.
    """
    from ni_platform.cli.sweep.run import run_and_print
    from ni_platform.cli.sweep.submit import send
    from ni_platform.tracking.store import open_store
    from ni_platform.tuning.cluster.submission import find_submission
    from ni_platform.tuning.results.finding import find_sweep
    from ni_platform.tuning.results.status import sweep_status

    submission = find_submission(name) if storage is None else None
    if submission is not None:
        if sweep_status(open_store, name).state == "finished":
            console.print("The sweep was finished already: nothing is left to train.")
        send(submission.job)
        return
    config, _ = find_sweep(name, storage).read()
    run_and_print(config, storage, allow_failed_checks, as_json)
