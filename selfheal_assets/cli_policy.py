"""The command `selfheal policy`: read arguments, call one operation, print. Holds no logic."""

from typing import Annotated

import typer

from selfheal_assets.terminal import console, said_plainly


def policy(
    model: Annotated[str | None, typer.Argument(help="Name of a declared model.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Renew docs/policy.md and docs/configuration.md.")] = False,
) -> None:
    """A model's policy as it stands: its actions, holds and limits, with the defaults marked."""
    from selfheal_assets.operations import configuration_document
    from selfheal_assets.operations.effective_policy import effective_policy
    from selfheal_assets.operations.models import model_named
    from selfheal_assets.operations.policy_document import DOCUMENT
    from selfheal_assets.operations.policy_document import write as renew
    from selfheal_assets.wiring import Services

    if (model is None) is not write:
        raise typer.BadParameter("Give the name of a model, or --write; one of the two.")
    with said_plainly():
        if model is not None:
            console.print(effective_policy(model_named(Services.from_environment(), model)))
        else:
            for document, changed in (
                (DOCUMENT, renew()),
                (configuration_document.DOCUMENT, configuration_document.write()),
            ):
                console.print(f"{document}: {'renewed' if changed else 'is current'}", soft_wrap=True)
