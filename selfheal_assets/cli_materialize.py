"""The command `selfheal materialize`: call one operation, print. Holds no logic."""

from selfheal_assets.terminal import console, said_plainly


def materialize() -> None:
    """Put the newest published features of every entity into the online store again, after it lost them."""
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import declared_models
    from selfheal_assets.project import home_from_environment

    with said_plainly():
        services = opened(home_from_environment())
        for spec in declared_models(services):
            with console.status(f"materializing {spec.name}"):
                until = services.features.refill(spec)
            what = "nothing was ever published" if until is None else f"online up to {until:%Y-%m-%d %H:%M:%S} UTC"
            console.print(f"{spec.name}: {what}", highlight=False, markup=False, soft_wrap=True)
