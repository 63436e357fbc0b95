"""Run blocking calls on a few threads: call and deadline in, a future out. Never waits for a thread that hangs."""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Condition, Thread
from time import monotonic

Work = Callable[[], None]


class BoundedThreads:
    """At most `limit` threads, however many calls hang. They are daemons: one that hangs does not keep a process alive.

    `concurrent.futures` has neither: its queue grows behind threads that hang, and a process waits for them at its end.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit, self._name = limit, name
        self._threads: list[Thread] = []
        self._calls: SimpleQueue[tuple[Future[None], Work] | None] = SimpleQueue()
        self._changed = Condition()
        self._running: dict[Future[None], float] = {}
        self._closed = False

    def submit(self, work: Work, deadline: float) -> "Future[None]":
        """Begin the call as soon as a thread is free. `deadline`: by `time.monotonic`; of the wait and of the call.

        Raises TimeoutError when none is free by then; at once, when every thread is at a call past its own deadline.
        """
        future: Future[None] = Future()
        with self._changed:
            while len(self._running) >= self._limit and not self._closed:
                wait = min(deadline, max(self._running.values())) - monotonic()
                if wait <= 0.0:
                    raise TimeoutError(f"One of {self._limit} threads must be free; the calls before did not return.")
                self._changed.wait(wait)
            if self._closed:
                raise TimeoutError("A call must begin before the threads are closed; they are.")
            if len(self._threads) == len(self._running):
                thread = Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._threads.append(thread)
            self._running[future] = deadline
        self._calls.put((future, work))
        return future

    def close(self, seconds: float = 1.0) -> None:
        """Let no call begin; wait for threads that are done within `seconds`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for _ in self._threads:
            self._calls.put(None)
        deadline = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work = call
            error: BaseException | None = None
            try:
                work()
            except BaseException as raised:
                error = raised
            with self._changed:
                del self._running[future]
                self._changed.notify()
            # Told only when the thread is free again: who is told may ask at once.
            future.set_result(None) if error is None else future.set_exception(error)
            del call, future, work, error
