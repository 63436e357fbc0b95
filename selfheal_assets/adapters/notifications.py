"""Tell people what happened: a message into the log and the outbox, and on to the receivers. Never stops healing."""

import json
import logging
import random
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from selfheal_assets.adapters.notification_lanes import Errand, Lanes, Outcome
from selfheal_assets.adapters.notification_outbox import (
    MESSAGE,
    Kept,
    append_line,
    large,
    put_aside,
    read_messages,
    unread,
)
from selfheal_assets.adapters.notification_state import DeliveryState, Parcel, Pending, load_state, save_state
from selfheal_assets.adapters.receivers import Receiver, ReceiverList
from selfheal_assets.core.notification import MOST_TRIES, Delivered, Message, Severity, compose, encodable, retry_delay
from selfheal_assets.core.notification_limits import Admission, Limits, admit, summaries, summaries_due
from selfheal_assets.ports import Clock

log = logging.getLogger("selfheal.notifications")

ROUND_S = 4.0
"""How long one delivery may send."""


class OutboxNotifier:
    """The `Notifier` port: `notify` writes to the outbox alone, `deliver` sends from it.

    In the home: `notifications.jsonl`, the outbox, what was said, its older parts in `.1` and so on;
    `notifications.state.json`, what is still to be delivered; `notifications.undelivered.jsonl`, what was given up.
    """

    def __init__(
        self,
        home: Path,
        clock: Clock,
        receivers: ReceiverList,
        *,
        dagster_url: str | None = None,
        limits: Limits | None = None,
        kept: Kept | None = None,
        chance: random.Random | None = None,
        round_s: float = ROUND_S,
    ) -> None:
        self._outbox = home / "notifications.jsonl"
        self._saved = home / "notifications.state.json"
        self._undelivered = home / "notifications.undelivered.jsonl"
        self._lock = home / ".notifications.lock"
        self._clock = clock
        self._receivers = receivers
        self._dagster_url = dagster_url
        self._limits = limits or Limits()
        self._kept = kept or Kept()
        self._chance = chance or random.Random()
        self._round_s = round_s
        self._lanes = Lanes()

    def notify(
        self,
        model: str,
        title: str,
        body: str,
        *,
        incident: str | None = None,
        severity: Severity = Severity.INFO,
    ) -> None:
        """Write it down; on the disk on return. Sends nothing and never raises."""
        failed = severity is Severity.FAILURE
        model, title, body = encodable(model), encodable(title), encodable(body)
        log.log(logging.ERROR if failed else logging.WARNING, "%s: %s. %s", model, title, body)
        message = Message(
            id=uuid4().hex[:16],
            at=self._clock.now(),
            model=model,
            title=title,
            body=body,
            incident=encodable(incident) if incident else None,
            severity=severity,
        )
        try:
            append_line(self._outbox, MESSAGE.dump_json(message).decode("utf-8"))
        except OSError as error:
            log.error("the notification could not be written to %s: %s", self._outbox, error)

    def deliver(self) -> Delivered:
        """Send what is due, for a few seconds at most; call it again and again.

        One process delivers at a time; the others return at once. Killed anywhere, the next call goes on: a message
        may then come twice, with the same id, and is never lost. Never raises for a receiver or a full disk.
        """
        try:
            with FileLock(self._lock, timeout=0):
                state = load_state(self._saved)
                delivered = self._deliver(state, self._clock.now())
                self._put_aside(state)
                return delivered
        except Timeout:
            return Delivered(waiting=load_state(self._saved).waiting)
        except OSError as error:
            log.error("notifications cannot be delivered from %s: %s", self._outbox.parent, error)
            return Delivered()

    def _deliver(self, state: DeliveryState, now: datetime) -> Delivered:
        sent = sum([self._record(state, outcome) for outcome in self._lanes.late()])
        new = unread(self._outbox, state.offset) or summaries_due(state.traffic, now)
        if not new and not any(p.ready(now) for parcel in state.parcels for p in parcel.pending.values()):
            return Delivered(sent=sent, waiting=state.waiting)
        receivers = self._receivers.current()
        if not receivers:
            # Perhaps only this process is not told of them: what waits is left as it is.
            return Delivered(sent=sent, waiting=state.waiting)
        given_up = self._give_up(state, receivers, now)
        self._route(state, receivers, now)
        work = self._begin(state, receivers, now)
        # Before anything is sent: a process that dies in the sending has used up a try, and cannot do so for ever.
        save_state(self._saved, state)
        unbegun = {(receiver.id, errand.message_id) for receiver, errands in work.items() for errand in errands}
        for outcome in self._lanes.round(work, self._round_s):
            unbegun.discard((outcome.receiver_id, outcome.message_id))
            sent += self._record(state, outcome)
        self._put_back(state, unbegun, now)
        given_up += self._give_up(state, receivers, now)
        save_state(self._saved, state)
        return Delivered(sent=sent, waiting=state.waiting, given_up=given_up)

    def _put_aside(self, state: DeliveryState) -> None:
        """Files that have grown large. What was not sent on yet stays, unless there is nobody to send it to."""
        if large(self._outbox, self._kept):
            read_until = state.offset if self._receivers.current() else None
            if put_aside(self._outbox, self._kept, read_until):
                state.offset = 0
                save_state(self._saved, state)
        put_aside(self._undelivered, self._kept)

    def _route(self, state: DeliveryState, receivers: dict[str, Receiver], now: datetime) -> None:
        """From the outbox to the receivers, within the limits."""
        messages, state.offset = read_messages(self._outbox, state.offset)
        admitted = []
        for message in messages:
            admission, state.traffic = admit(message, state.traffic, self._limits, now)
            admitted += [message] if admission is Admission.SEND else []
        due, state.traffic = summaries(state.traffic, now)
        for message in [*admitted, *due]:
            pending = {receiver: Pending(tries=0, due=now) for receiver in receivers}
            state.parcels.append(Parcel(message=message, pending=pending))

    def _begin(
        self, state: DeliveryState, receivers: dict[str, Receiver], now: datetime
    ) -> dict[Receiver, list[Errand]]:
        """What to send in this round, failures first; each counts as tried."""
        work: dict[Receiver, list[Errand]] = {}
        for parcel in sorted(state.parcels, key=lambda parcel: not parcel.message.urgent):
            message = parcel.message
            for name, pending in parcel.pending.items():
                if not pending.ready(now) or self._lanes.busy(name):
                    continue
                pending.tries += 1
                pending.due = now + retry_delay(pending.tries, self._chance.random())
                errand = Errand(message.id, compose(message, self._dagster_url), message.severity)
                work.setdefault(receivers[name], []).append(errand)
        return work

    def _record(self, state: DeliveryState, outcome: Outcome) -> bool:
        """Whether a message was delivered that had not been."""
        if outcome.failure is not None:
            log.warning("message %s did not reach %s: %s", outcome.message_id, outcome.receiver_id, outcome.failure)
            return False
        delivered = state.settle(outcome.message_id, outcome.receiver_id)
        if delivered:
            save_state(self._saved, state)
        return delivered

    def _put_back(self, state: DeliveryState, unbegun: set[tuple[str, str]], now: datetime) -> None:
        """What the round had no time for was not tried."""
        for parcel in state.parcels:
            for name, pending in parcel.pending.items():
                if (name, parcel.message.id) in unbegun:
                    pending.tries -= 1
                    pending.due = now

    def _give_up(self, state: DeliveryState, receivers: dict[str, Receiver], now: datetime) -> int:
        """Write down, and no longer try, what was tried often enough or whose receiver is gone; how many."""
        hopeless = [
            (parcel.message, name, pending.tries)
            for parcel in state.parcels
            for name, pending in parcel.pending.items()
            if pending.tries >= MOST_TRIES or name not in receivers
        ]
        for message, name, tries in hopeless:
            why = f"it failed {tries} times" if name in receivers else "the receiver is no longer configured"
            log.error("message %s (%s: %s) to %s is given up: %s", message.id, message.model, message.title, name, why)
            line = {"at": now.isoformat(), "id": message.id, "receiver": name, "tries": tries, "reason": why}
            append_line(self._undelivered, json.dumps(line))
            state.settle(message.id, name)
        return len(hopeless)
