"""Split requests between two versions: a key in; champion or challenger out, always the same. Never sees a request."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b


class Arm(StrEnum):
    """Which of the two answers."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Who answers whom at present."""

    champion: str
    """The version that answers what the challenger does not."""
    challenger: str | None = None
    """The version on trial: it scores every request beside the champion, and answers its share."""
    weight: float = 0.0
    """The challenger's share of the requests, 0 to 1. With 0 it is in the shadow."""
    rollout: str | None = None
    """Id of the rollout; the salt of the split."""
    standby: str | None = None
    """A version to keep loaded: the way back."""

    def arm(self, key: str) -> Arm:
        """Sticky: a key that the challenger answers stays with it while the weight rises."""
        if self.challenger is None or self.weight <= 0.0:
            return Arm.CHAMPION
        return Arm.CHALLENGER if bucket(self.rollout or "", key) < self.weight else Arm.CHAMPION


def bucket(salt: str, key: str) -> float:
    """A place in [0, 1), uniform over keys and independent between salts."""
    digest = blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
