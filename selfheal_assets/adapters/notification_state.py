"""Remember what is still to be delivered: read whole, replaced whole. Never holds a receiver's URL."""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from selfheal_assets.core.notification import LONGEST_DELAY, Message
from selfheal_assets.core.notification_limits import Traffic
from selfheal_assets.durable import replaced

log = logging.getLogger("selfheal.notifications")


@dataclass(kw_only=True)
class Pending:
    """A message that one receiver has not got yet."""

    tries: int
    """Begun so far, the one under way included."""
    due: datetime
    """Not to be tried before, UTC."""

    def ready(self, now: datetime) -> bool:
        """A time further ahead than any delay comes from a clock that was put back since."""
        return self.due <= now or self.due > now + LONGEST_DELAY


@dataclass(kw_only=True)
class Parcel:
    """A message and the receivers that have not got it, by receiver id."""

    message: Message
    pending: dict[str, Pending]


@dataclass(kw_only=True)
class DeliveryState:
    offset: int = 0
    """Bytes of the outbox that were looked at."""
    traffic: Traffic = field(default_factory=Traffic)
    parcels: list[Parcel] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return sum(len(parcel.pending) for parcel in self.parcels)

    def settle(self, message_id: str, receiver_id: str) -> bool:
        """Nothing more to do for the pair; whether there was."""
        found = False
        for parcel in self.parcels:
            if parcel.message.id == message_id:
                found |= parcel.pending.pop(receiver_id, None) is not None
        self.parcels = [parcel for parcel in self.parcels if parcel.pending]
        return found


STATE = TypeAdapter(DeliveryState)


def load_state(path: Path) -> DeliveryState:
    """What was saved last. A missing or unreadable file is a new beginning: the limits hold for what is sent again."""
    try:
        return STATE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return DeliveryState()
    except ValidationError:
        log.error("%s does not hold the state of deliveries; messages of the last day may be sent again", path)
        return DeliveryState()


def save_state(path: Path, state: DeliveryState) -> None:
    """Durable on return. Raises OSError."""
    with replaced(path) as draft:
        draft.write_bytes(STATE.dump_json(state))
