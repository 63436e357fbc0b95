"""Send to many receivers side by side: wordings by receiver in, outcomes out. Never waits longer than it may."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from selfheal_assets.adapters.receivers import Receiver
from selfheal_assets.core.notification import Severity, Wording


@dataclass(frozen=True)
class Errand:
    """One message on its way to one receiver."""

    message_id: str
    wording: Wording
    severity: Severity


@dataclass(frozen=True)
class Outcome:
    receiver_id: str
    message_id: str
    failure: str | None
    """None when the receiver took it."""


class _Lane:
    """One receiver's errands, one after the other, in a thread that cannot keep the process alive."""

    def __init__(self, receiver: Receiver, errands: Sequence[Errand], done: "SimpleQueue[_Report]") -> None:
        self.receiver = receiver
        self.under_way: str | None = None
        self._errands = errands
        self._done = done
        self._stopped = threading.Event()
        self._recorded = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._work, name=f"notify-{receiver.id}", daemon=True)

    def go_on(self) -> None:
        """The last outcome is recorded."""
        self._recorded.release()

    def stop(self) -> str | None:
        """Begin nothing more; the id of the message that is being sent."""
        self._stopped.set()
        self.go_on()
        return self.under_way

    def _work(self) -> None:
        for errand in self._errands:
            self.under_way = errand.message_id
            if self._stopped.is_set():
                break
            failure = self.receiver.send(errand.wording, errand.severity)
            self.under_way = None
            self._done.put((self, Outcome(self.receiver.id, errand.message_id, failure)))
            if failure is not None:
                # The receiver is probably down: the others of its errands would only wait for the same.
                break
            # So that a kill can make a receiver get one message twice, not several.
            self._recorded.acquire()
        self._done.put((self, None))


_Report = tuple[_Lane, Outcome | None]
"""An outcome of a lane, or that it has ended."""


class Lanes:
    """At most one thread a receiver, over all rounds of this process: a receiver that hangs costs one thread."""

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}
        self._done: SimpleQueue[_Report] = SimpleQueue()

    def busy(self, receiver_id: str) -> bool:
        thread = self._threads.get(receiver_id)
        return thread is not None and thread.is_alive()

    def late(self) -> Iterator[Outcome]:
        """The outcomes that came after their round had ended."""
        while not self._done.empty():
            _, outcome = self._done.get_nowait()
            if outcome:
                yield outcome

    def round(self, work: Mapping[Receiver, Sequence[Errand]], budget_s: float) -> Iterator[Outcome]:
        """Each outcome as it comes, to be recorded at once; at the end one of each message that is still under way.

        Errands without an outcome were not begun. Receivers that are busy must not be among the work.
        """
        ends = time.monotonic() + budget_s
        lanes = {_Lane(receiver, errands, self._done) for receiver, errands in work.items()}
        for lane in lanes:
            self._threads[lane.receiver.id] = lane.thread
            lane.thread.start()
        try:
            while lanes:
                try:
                    lane, outcome = self._done.get(timeout=max(0.0, ends - time.monotonic()))
                except Empty:
                    break
                if outcome:
                    yield outcome
                    lane.go_on()
                else:
                    lane.thread.join()
                    lanes.discard(lane)
        finally:
            under_way = {lane.receiver.id: lane.stop() for lane in lanes}
        yield from self.late()
        for receiver_id, message_id in under_way.items():
            if message_id:
                yield Outcome(receiver_id, message_id, "it did not answer in time")
