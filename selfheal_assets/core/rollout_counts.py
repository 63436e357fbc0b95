"""Make a look of what the servers counted: readings of every server in, two versions' counts out. Never asks one."""

from collections.abc import Iterable, Sequence
from math import inf, isfinite

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.rollout_look import ArmCounts, Look
from selfheal_assets.core.server_reading import Sample, ServerReading

SCORES, ERRORS, SLOW = "selfheal_score_bucket", "selfheal_row_errors_total", "selfheal_row_slow_total"
ANSWERED = "selfheal_rows_total"
BUSINESS, BUSINESS_SUM = "selfheal_business_total", "selfheal_business_sum_total"
STANDS = "selfheal_model_info"


def look_of_servers(servers: Sequence[ServerReading], champion: str, challenger: str) -> Look | None:
    """The counts of both versions over all servers; None when one of them did not answer.

    By version, whichever arm it was: in the bake the challenger is the champion's arm. A sum without a server that is
    there would say that its rows never were. Raises RolloutError for metrics of another version of selfheal.
    """
    if not all(server.answered for server in servers):
        return None
    samples = [sample for server in servers for sample in server.samples or ()]
    return Look(champion=_counts(samples, champion), challenger=_counts(samples, challenger))


def answering_versions(servers: Sequence[ServerReading]) -> frozenset[str]:
    """The versions that the servers have as their champion."""
    return frozenset(
        sample.labels["version"]
        for server in servers
        for sample in server.samples or ()
        if sample.name == STANDS and sample.labels.get("alias") == "champion" and sample.value > 0.0
    )


def _counts(samples: Sequence[Sample], version: str) -> ArmCounts:
    own = [sample for sample in samples if sample.labels.get("version") == version]
    return ArmCounts(
        scores=by_bucket(sample for sample in own if sample.name == SCORES),
        errors=int(total_of(own, ERRORS)),
        slow=int(total_of(own, SLOW)),
        answered=int(total_of(own, ANSWERED)),
        business=int(total_of(own, BUSINESS)),
        business_sum=total_of(own, BUSINESS_SUM),
    )


def total_of(samples: Iterable[Sample], name: str) -> float:
    """A metric over all its other labels. Raises RolloutError for what is no number."""
    total = sum(sample.value for sample in samples if sample.name == name)
    if not isfinite(total):
        raise RolloutError(f"A server's counts must be numbers; received {total} for {name}. Look at its /metrics.")
    return total


def by_bucket(samples: Iterable[Sample]) -> tuple[int, ...]:
    """Scores by bucket, from Prometheus' cumulative ones; what is above 1 is in none of them."""
    cumulative = dict[float, float]()
    for sample in samples:
        edge = float(sample.labels["le"])
        cumulative[edge] = cumulative.get(edge, 0.0) + sample.value
    edges = sorted(edge for edge in cumulative if edge < inf)
    counts = [cumulative[edge] for edge in edges]
    if not counts:
        return ArmCounts().scores
    return tuple(int(count - before) for count, before in zip(counts, [0.0, *counts[:-1]], strict=True))
