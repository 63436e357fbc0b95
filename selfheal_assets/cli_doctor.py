"""The command `selfheal doctor`: call one operation, print. Holds no logic."""

import typer
from rich.table import Table

from selfheal_assets.terminal import console, said_plainly


def doctor() -> None:
    """Check every configured service, say what is wrong and how to mend it, and what would run where."""
    from selfheal_assets.operations.doctor import Checked, examine, runs_where
    from selfheal_assets.settings import settings_from_environment

    checked = list[Checked]()
    for found in examine():
        checked.append(found)
        mark = "[green]right[/]" if found.is_well else "[red]wrong[/]"
        console.print(f"{mark} {found.name}", end=": ", soft_wrap=True)
        console.print(f"{found.where}: {found.detail}", highlight=False, markup=False, soft_wrap=True)
        if found.remedy:
            console.print(f"      {found.remedy}", highlight=False, markup=False, soft_wrap=True)
    wrong = sum(not found.is_well for found in checked)
    if checked[0].name != "settings" or checked[0].where != "environment":
        table = Table("what", "where", title="What would run where")
        with said_plainly():
            for what, where in runs_where(settings_from_environment()).items():
                table.add_row(what, where)
        console.print(table)
    if wrong:
        console.print(f"{wrong} of {len(checked)} wrong")
        raise typer.Exit(1)
