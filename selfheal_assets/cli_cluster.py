"""The commands `selfheal cluster ...`: call one operation on a model's servers in Kubernetes, print. Hold no logic."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer
from rich.table import Table

from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.ports import Release

cluster = typer.Typer(no_args_is_help=True, help="The model servers of a Kubernetes cluster: look, scale, share, back.")
ModelName = Annotated[str, typer.Argument(help="Name of a declared model.")]
Track = Annotated[str, typer.Argument(help="stable or canary.")]


@cluster.command()
def status(model: ModelName) -> None:
    """Both tracks, their shares of the requests, and the release that the cluster has recorded."""
    from selfheal_assets.operations.cluster import standing

    with said_plainly():
        found = standing(_services(model).releases, model)
    table = Table("track", "requests", "pods", title=f"servers of {model}")
    for track, words in found.tracks.items():
        table.add_row(track, f"{found.weights.get(track, 0)}%", words)
    console.print(table)
    _say(f"serving: {_release(found.release.serving)}; before: {_release(found.release.previous)}")


@cluster.command()
def restart(model: ModelName) -> None:
    """Replace the pods a few at a time. Told when it has begun; ask again with `status`."""
    with said_plainly():
        done = _services(model).serving.restart(model, _by_hand(), ())
    _say(f"{done.state}: {done.words}")


@cluster.command()
def scale(model: ModelName, track: Track, replicas: Annotated[int, typer.Argument(help="Pods.", min=0)]) -> None:
    """So many pods of a track. An autoscaler of that track has the last word."""
    with said_plainly():
        _say(_services(model).releases.scale(model, track, replicas).words)


@cluster.command()
def weights(model: ModelName, canary: Annotated[int, typer.Argument(help="Percent.", min=0, max=100)]) -> None:
    """The canary track's share of the requests; the rest is the stable track's."""
    with said_plainly():
        shares = _services(model).releases.set_weights(model, _by_hand(), canary)
    _say(", ".join(f"{track}: {share}%" for track, share in shares.items()))


@cluster.command()
def rollback(model: ModelName) -> None:
    """Back to the run that was recorded before the present one. With Dagster up, use the job MODEL_rollback instead."""
    from selfheal_assets.operations.cluster import go_back

    with said_plainly():
        services = _services(model)
        release = go_back(services.releases, services.registry, model, _by_hand())
    _say(f"serving: {_release(release)}; the servers follow within seconds")


def _services(model: str) -> Any:
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import model_named

    services = opened(home_from_environment())
    model_named(services, model)
    return services


def _by_hand() -> str:
    """A person's every command is a decision of its own."""
    return f"by-hand-{uuid4().hex[:12]}"


def _release(release: "Release | None") -> str:
    return f"version {release.version}, run {release.run_id}" if release else "none"


def _say(words: str) -> None:
    console.print(words, markup=False, highlight=False, soft_wrap=True)
