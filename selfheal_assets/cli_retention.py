"""The command `selfheal retention`: call one operation, print. Holds no logic."""

from typing import Annotated

import typer

from selfheal_assets.terminal import console, said_plainly


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    days: Annotated[
        float | None, typer.Option(min=1, help="Age of an old run; by default SELFHEAL_KEEP_RUNS_DAYS.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Remove so many runs at most; by default 20,000.")] = None,
) -> None:
    """Remove old finished runs of Dagster's, with their events and logs, as the nightly schedule does."""
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.retention import prune
    from selfheal_assets.project import home_from_environment

    with said_plainly():
        done = prune(opened(home_from_environment()), days=days, limit=limit, dry_run=dry_run)
    console.print(f"{'would remove' if dry_run else 'removed'} {done.words}", highlight=False, soft_wrap=True)
    for job_name, number in sorted(done.gone.items()):
        console.print(f"  {number} of {job_name}", highlight=False)
