"""From the servers' pages to a look: what two versions did, summed over servers and arms; silence is no count."""

from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.rollout_counts import answering_versions, look_of_servers
from selfheal_assets.core.rollout_look import ArmCounts, Look, look_of_rows
from selfheal_assets.core.server_reading import Sample, ServerReading
from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import FeatureLevel
from selfheal_assets.serving.metrics import ServerMetrics

NOW = datetime(2026, 3, 10, tzinfo=UTC)
SCORES = (0.0, 0.03, 0.05, 0.051, 0.5, 0.97, 1.0)


def reading(metrics: ServerMetrics | None) -> ServerReading:
    if metrics is None:
        return ServerReading(url="http://one", pid=1, started=NOW)
    families = text_string_to_metric_families(metrics.exposition().decode())
    samples = [Sample(name=s.name, labels=s.labels, value=s.value) for family in families for s in family.samples]
    return ServerReading(url="http://one", pid=1, started=NOW, samples=samples)


def test_both_arms_of_a_version_and_all_servers_count() -> None:
    one, other = ServerMetrics("m"), ServerMetrics("m")
    one.arm("1", Arm.CHAMPION, "r").scored([*SCORES, None], slow=True)
    one.arm("2", Arm.CHALLENGER, "r").scored(SCORES, slow=False)
    other.arm("2", Arm.CHAMPION, "r").scored(SCORES, slow=False)
    other.arm("3", Arm.CHAMPION, "").scored(SCORES, slow=True)
    for _ in range(3):
        one.answered("2", Arm.CHALLENGER, "r", FeatureLevel.LIVE)
    other.answered("2", Arm.CHAMPION, "r", FeatureLevel.DEFAULT)
    one.business("2", 0.5)
    other.business("2", 0.25)
    look = look_of_servers([reading(one), reading(other)], "1", "2")
    assert look is not None
    buckets = look_of_rows(SCORES, SCORES, [float("nan")] * 7, [False] * 7).champion.scores
    assert look.champion == ArmCounts(scores=buckets, errors=1, slow=8)
    assert look.challenger == ArmCounts(
        scores=tuple(2 * count for count in buckets), answered=4, business=2, business_sum=0.75
    )


def test_a_silent_server_makes_every_sum_wrong() -> None:
    assert look_of_servers([reading(ServerMetrics("m")), reading(None)], "1", "2") is None
    assert look_of_servers([], "1", "2") == Look()


def test_counts_that_are_none_are_refused() -> None:
    broken = ServerReading(
        url="u",
        pid=1,
        started=NOW,
        samples=[Sample(name="selfheal_row_errors_total", labels={"version": "1"}, value=float("nan"))],
    )
    with pytest.raises(RolloutError, match="must be numbers; received nan for selfheal_row_errors_total"):
        look_of_servers([broken], "1", "2")
    other = ServerReading(
        url="u",
        pid=1,
        started=NOW,
        samples=[Sample(name="selfheal_score_bucket", labels={"version": "1", "le": "0.5"}, value=3.0)],
    )
    with pytest.raises(RolloutError, match="20 equal buckets"):
        look_of_servers([other], "1", "2")


def test_who_answers_is_read_from_what_stands_ready() -> None:
    metrics = ServerMetrics("m")
    versions = [("m", "1", "champion", "r1"), ("m", "2", "challenger", "r2")]
    metrics.state(ready=True, trouble=False, breaker_open=False, versions=versions)
    assert answering_versions([reading(metrics), reading(None)]) == {"1"}
    metrics.state(ready=True, trouble=False, breaker_open=False, versions=[("m", "2", "champion", "r2")])
    assert answering_versions([reading(metrics)]) == {"2"}
