"""What people are told, in which words, and what no burst, repetition or noise can bring about."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.notification import (
    FIRST_DELAY,
    LONGEST_BODY,
    LONGEST_DELAY,
    LONGEST_TITLE,
    MOST_TRIES,
    Message,
    Severity,
    compose,
    retry_delay,
)
from selfheal_assets.core.notification_limits import (
    HOUR,
    Admission,
    HeldBack,
    Limits,
    Sent,
    Traffic,
    admit,
    summaries,
    summaries_due,
    topic,
)

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SEND, DUPLICATE, HELD_BACK = Admission


def message(
    title: str = "retraining",
    *,
    at: datetime = NOW,
    model: str = "payments",
    body: str = "because",
    incident: str | None = "i1",
    severity: Severity = Severity.INFO,
) -> Message:
    return Message(id="0f", at=at, model=model, title=title, body=body, incident=incident, severity=severity)


class TestCompose:
    def test_says_what_happened_what_was_done_and_where_to_look(self) -> None:
        said = compose(message("retraining for harmful_drift", body="AUC fell."), "http://dagster.example/")
        assert said.title == "[payments] retraining for harmful_drift"
        assert said.body == (
            "AUC fell.\n"
            "\n"
            "Incident i1: selfheal incidents i1\n"
            "Dagster: http://dagster.example/assets/payments?view=folder\n"
            "Message 0f, 2026-01-10 12:00:00 UTC"
        )

    @pytest.mark.parametrize(
        ("given_", "body"),
        [
            (message(incident=None), "because\n\nMessage 0f, 2026-01-10 12:00:00 UTC"),
            (message(incident=None, body="  "), "Message 0f, 2026-01-10 12:00:00 UTC"),
        ],
    )
    def test_leaves_out_what_is_not_known(self, given_: Message, body: str) -> None:
        assert compose(given_).body == body

    @given(st.text(max_size=3_000), st.text(max_size=3_000))
    def test_is_short_whole_and_encodable_whatever_comes(self, title: str, body: str) -> None:
        said = compose(message(title, body=body), "http://dagster.example")
        assert len(said.title) <= LONGEST_TITLE
        assert "\n" not in said.title
        assert said.title.startswith("[payments]")
        assert len(said.body) <= LONGEST_BODY + 200
        assert "Incident i1" in said.body
        assert said.body.endswith("UTC")
        assert (said.title + said.body).encode("utf-8")

    def test_a_lone_surrogate_does_not_stop_it(self) -> None:
        assert compose(message("\ud800")).title == "[payments] ?"


class TestRetryDelay:
    @pytest.mark.parametrize(("tries", "seconds"), [(1, 15), (2, 30), (3, 60), (8, 1800), (12, 1800), (9_999, 1800)])
    def test_doubles_up_to_the_longest(self, tries: int, seconds: float) -> None:
        assert retry_delay(tries, 0.0).total_seconds() == seconds

    @given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
    def test_jitter_takes_off_at_most_half(self, tries: int, draw: float) -> None:
        whole = retry_delay(tries, 0.0)
        assert whole / 2 <= retry_delay(tries, draw) <= whole
        assert FIRST_DELAY / 2 <= retry_delay(tries, draw) <= LONGEST_DELAY

    def test_all_tries_together_outlast_an_hour(self) -> None:
        assert timedelta(hours=1) < sum((retry_delay(n, 0.999) for n in range(1, MOST_TRIES)), timedelta())


SAME = message()


@pytest.mark.parametrize(
    ("first", "second", "minutes", "expected"),
    [
        (SAME, SAME, 0, DUPLICATE),
        (SAME, SAME, 59, DUPLICATE),
        (SAME, SAME, 60, SEND),
        (SAME, message(body="other words"), 1, DUPLICATE),
        (SAME, message("rolled back"), 1, SEND),
        (SAME, message(incident="i2"), 1, SEND),
        (SAME, message(model="other"), 1, SEND),
        (SAME, message(severity=Severity.WARNING), 1, DUPLICATE),
        (SAME, message(severity=Severity.FAILURE), 1, SEND),
        (message(severity=Severity.FAILURE), SAME, 1, SEND),
        (message(incident=None), message(incident=None), 1, DUPLICATE),
        (message(incident=None), message(incident=None, body="another batch"), 1, SEND),
    ],
)
def test_a_repetition_is_not_sent_again(first: Message, second: Message, minutes: float, expected: Admission) -> None:
    admission, traffic = admit(first, Traffic(), Limits(), NOW)
    assert admission is SEND
    assert admit(second, traffic, Limits(), NOW + minutes * MINUTE)[0] is expected


def test_a_repetition_of_what_was_held_back_is_no_duplicate() -> None:
    """It was never sent: people do not know it yet."""
    limits = Limits(per_hour=1)
    _, traffic = admit(message("noise"), Traffic(), limits, NOW)
    assert [admit(message("news"), traffic, limits, NOW + m * MINUTE)[0] for m in (1, 2)] == [HELD_BACK, HELD_BACK]
    assert admit(message("news"), traffic, limits, NOW + HOUR)[0] is SEND


@pytest.mark.parametrize(
    ("limits", "age_hours", "severity", "expected"),
    [
        (Limits(per_hour=0), 0, Severity.INFO, HELD_BACK),
        (Limits(per_hour=0), 0, Severity.WARNING, HELD_BACK),
        (Limits(per_hour=0), 0, Severity.SUCCESS, HELD_BACK),
        (Limits(per_hour=0), 0, Severity.FAILURE, SEND),
        (Limits(failures_per_hour=0), 0, Severity.FAILURE, HELD_BACK),
        (Limits(failures_per_hour=0), 0, Severity.INFO, SEND),
        (Limits(), 24, Severity.FAILURE, SEND),
        (Limits(), 25, Severity.FAILURE, HELD_BACK),
        (Limits(stale_hours=48), 25, Severity.INFO, SEND),
        (Limits(), -24 * 400, Severity.INFO, SEND),
    ],
)
def test_budgets_and_age(limits: Limits, age_hours: float, severity: Severity, expected: Admission) -> None:
    told = message(at=NOW - age_hours * HOUR, severity=severity)
    assert admit(told, Traffic(), limits, NOW)[0] is expected


def test_one_summary_stands_for_what_was_held_back() -> None:
    limits, traffic = Limits(per_hour=2), Traffic()
    for n in range(7):
        _, traffic = admit(message(f"title {n}"), traffic, limits, NOW + n * MINUTE)
    assert traffic.held == (HeldBack(model="payments", urgent=False, count=5, since=NOW + 2 * MINUTE),)
    assert not summaries_due(traffic, NOW + 61 * MINUTE)
    assert summaries(traffic, NOW + 61 * MINUTE) == ([], traffic)
    (summary,), after = summaries(traffic, NOW + 62 * MINUTE)
    assert (summary.model, summary.title, summary.severity) == ("payments", "5 more held back", Severity.WARNING)
    assert "notifications.jsonl" in summary.body
    assert after.held == ()
    (again,), _ = summaries(traffic, NOW + 90 * MINUTE)
    assert again.id == summary.id


def test_a_clock_that_was_put_back_silences_nobody_for_longer_than_an_hour() -> None:
    year = timedelta(days=365)
    traffic = Traffic(
        sent=(Sent(model="payments", urgent=False, topic=topic(SAME), at=NOW + year),),
        held=(HeldBack(model="payments", urgent=False, count=3, since=NOW + year),),
    )
    admission, traffic = admit(SAME, traffic, Limits(), NOW)
    assert admission is DUPLICATE
    assert admit(SAME, traffic, Limits(), NOW + HOUR)[0] is SEND
    assert [s.title for s in summaries(traffic, NOW)[0]] == ["3 more held back"]


# A day or so of messages: seconds since the one before, and who says what.
STREAM = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 60, 600, 1_800, 3_599, 3_600, 7_000]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["t1", "t2", "t3"]),
        st.sampled_from(["i1", "i2", "i3", None]),
        st.sampled_from(list(Severity)),
    ),
    max_size=60,
)
LIMITS = st.builds(
    Limits,
    per_hour=st.integers(0, 4),
    failures_per_hour=st.integers(0, 4),
    dedupe_minutes=st.sampled_from([0, 10, 60, 180]),
)
Told = list[tuple[Message, Admission]]


def played(stream: list[tuple[float, str, str, str | None, Severity]], limits: Limits) -> tuple[Told, Told, Traffic]:
    """The messages with their admission, the summaries that came between, and the traffic at the end."""
    now, traffic = NOW, Traffic()
    told: Told = []
    summed: Told = []
    for seconds, model, title, incident, severity in stream:
        now += timedelta(seconds=seconds)
        due, traffic = summaries(traffic, now)
        summed += [(summary, SEND) for summary in due]
        spoken = message(title, at=now, model=model, incident=incident, severity=severity)
        admission, traffic = admit(spoken, traffic, limits, now)
        told.append((spoken, admission))
    return told, summed, traffic


def most_in_an_hour(messages: list[Message]) -> int:
    return max((sum(first.at <= m.at < first.at + HOUR for m in messages) for first in messages), default=0)


@given(STREAM, LIMITS)
def test_a_burst_never_sends_more_than_the_limit(stream: list, limits: Limits) -> None:
    told, summed, _ = played(stream, limits)
    for model in ("a", "b"):
        for urgent in (False, True):
            sent = [m for m, admission in told if admission is SEND and (m.model, m.urgent) == (model, urgent)]
            assert most_in_an_hour(sent) <= limits.budget(urgent)
            assert most_in_an_hour([m for m, _ in summed if (m.model, m.urgent) == (model, urgent)]) <= 1


@given(STREAM, LIMITS)
def test_the_first_of_an_incident_is_sent_unless_the_budget_is_gone(stream: list, limits: Limits) -> None:
    told, _, _ = played(stream, limits)
    known = set()
    for place, (spoken, admission) in enumerate(told):
        if spoken.incident is None or (spoken.model, spoken.incident) in known:
            continue
        known.add((spoken.model, spoken.incident))
        lately = [m for m, sent in told[:place] if sent is SEND and spoken.at - m.at < HOUR and m.model == spoken.model]
        gone = sum(m.urgent == spoken.urgent for m in lately) >= limits.budget(spoken.urgent)
        assert admission is (HELD_BACK if gone else SEND)


@given(STREAM, LIMITS)
def test_noise_changes_nothing_for_failures(stream: list, limits: Limits) -> None:
    """Nor another model's failures: what happens to one budget follows from its own messages alone."""
    told, _, _ = played(stream, limits)
    now, traffic = NOW, Traffic()
    for (seconds, *_), (spoken, admission) in zip(stream, told, strict=True):
        now += timedelta(seconds=seconds)
        if (spoken.model, spoken.urgent) == ("a", True):
            alone, traffic = admit(spoken, traffic, limits, now)
            assert alone is admission


@given(STREAM, LIMITS)
def test_every_message_is_sent_known_or_counted_in_a_summary(stream: list, limits: Limits) -> None:
    told, summed, traffic = played(stream, limits)
    held = Counter(admission for _, admission in told)[HELD_BACK]
    assert held == sum(int(m.title.split()[0]) for m, _ in summed) + sum(h.count for h in traffic.held)
    for place, (spoken, admission) in enumerate(told):
        if admission is DUPLICATE:
            window = timedelta(minutes=limits.dedupe_minutes)
            before = [m for m, sent in told[:place] if sent is SEND and topic(m) == topic(spoken)]
            assert any(spoken.at - m.at < window for m in before)


@given(STREAM, LIMITS)
def test_what_is_remembered_is_bounded_by_the_limits(stream: list, limits: Limits) -> None:
    _, _, traffic = played(stream, limits)
    hours = max(1.0, limits.dedupe_minutes / 60)
    assert len(traffic.sent) <= 2 * (limits.per_hour + limits.failures_per_hour) * (hours + 1)
    assert len(traffic.held) <= 4
