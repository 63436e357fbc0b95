"""Keep the line as registry and rollout want it: a question every second, lines out. Never decides who serves."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

from selfheal_assets.core.errors import SelfhealError, ServingError
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports import Clock, Line, ServedModel
from selfheal_assets.serving.assembling import Assembler, Trouble, line_of, versions_of, without_old_trial
from selfheal_assets.serving.last_line import remember, remembered
from selfheal_assets.serving.loading import Loader

EVERY_SECONDS = 1.0
RETRY_SECONDS = 60.0
"""How long a version that failed to load, or its probe, is left alone."""
PATIENCE_SECONDS = 5.0
"""A registry that does not answer by then is down: at the start the last good line stands in, and later it is told."""
RELOAD_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Follower:
    """The versions that stand ready. Whoever took a line may use it to the end: it is replaced, never changed."""

    def __init__(
        self,
        wanted: Callable[[], Traffic | None],
        loader: Loader,
        state: Path,
        clock: Clock,
        *,
        every_seconds: float = EVERY_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`wanted` says who is to serve, None while there is no champion, and raises while nobody can say; `state` is
        the file in which the last good line is remembered."""
        self._wanted, self._loader, self._state = wanted, loader, state
        self._assembler = Assembler(loader, clock, retry_seconds)
        self._every, self._patience = every_seconds, patience_seconds
        self._line: Line | None = None
        self._paused, self._stopped, self._wake = False, False, threading.Event()
        self._swapping, self._looked = threading.Lock(), threading.Condition()
        self._asked = self._answered = 0
        self._looking_since: float | None = None
        self._unreachable: str | None = None
        self._unwritten: str | None = None
        self._missing: Mapping[str, str] = {}
        self._thread: threading.Thread | None = None
        self._timer: threading.Timer | None = None

    @property
    def line(self) -> Line | None:
        """None before the first version stands ready."""
        return self._line

    @property
    def ready(self) -> bool:
        return self._line is not None

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Versions that are wanted and cannot serve, with the reasons."""
        return self._assembler.troubles

    @property
    def registry_trouble(self) -> str | None:
        """Why nobody can say at present who is to serve, or where the files are; None when somebody can."""
        since = self._looking_since
        if since is not None and (waited := monotonic() - since) > self._patience:
            return f"the registry must answer; it has not for {waited:.0f} s. See that it can be reached."
        passing = [trouble.reason for trouble in self._assembler.troubles if trouble.passing]
        return self._unreachable or next(iter(passing), None)

    @property
    def state_trouble(self) -> str | None:
        """Why the next start could not begin with the present line; None when it could."""
        return self._unwritten

    def start(self) -> None:
        """Begin to follow; returns at once. From the first line on there always is one."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._timer = threading.Timer(self._patience, self._restore)
        self._timer.daemon = True
        self._thread.start()
        self._timer.start()

    def stop(self) -> None:
        """Stop following; what is loaded stays."""
        with self._looked:
            self._stopped = True
            self._looked.notify_all()
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            # A registry that hangs holds nobody up: the thread ends with the process.
            self._thread.join(self._patience)

    def reload(self) -> None:
        """Look at once, also at versions that failed a moment ago; returns after that look, or after 10 s. While the
        line is held nothing happens."""
        if self._thread is None:
            self.look(anew=True)
            return
        with self._looked:
            self._asked += 1
            ticket = self._asked
            self._wake.set()
            self._looked.wait_for(lambda: self._answered >= ticket or self._stopped, RELOAD_SECONDS)

    def pause(self) -> None:
        """Hold the line as it is: after this returns, no other one takes its place until `resume`."""
        with self._swapping:
            self._paused = True

    def resume(self) -> None:
        """Follow again, at once."""
        self._paused = False
        self._wake.set()

    def look(self, *, anew: bool = False) -> None:
        """Once: ask who is to serve, load what is new, replace the line. Never raises."""
        if self._paused:
            return
        self._looking_since = monotonic()
        try:
            wanted = self._ask()
            if wanted is not None:
                self._go_to(wanted, anew=anew)
            elif self._line is None:
                self._restore()
        except Exception:  # the thread that follows must outlive everything
            _log.exception("a look at who is to serve failed")
        finally:
            self._looking_since = None

    def _follow(self) -> None:
        while not self._stopped:
            asked = self._asked
            self.look(anew=asked > self._answered)
            with self._looked:
                self._answered = asked
                self._looked.notify_all()
            self._wake.wait(self._every)
            self._wake.clear()

    def _ask(self) -> Traffic | None:
        before, told = self._unreachable, None
        try:
            wanted = self._wanted()
        except Exception as error:  # a library below may raise anything while its server is down
            wanted, told = None, str(error) if isinstance(error, SelfhealError) else f"{type(error).__name__}: {error}"
        else:
            if wanted is None:
                told = "a model must have a champion to be served; the registry has none. Train and promote one."
        self._unreachable = told
        if told != before:
            _log.warning("who is to serve is %s", "known again" if told is None else f"not known: {told}")
        return wanted

    def _go_to(self, wanted: Traffic, *, anew: bool) -> None:
        known = {(trouble.version, trouble.reason) for trouble in self.troubles}
        line = self._assembler.assemble(wanted, self._line, anew=anew)
        for trouble in self.troubles:
            if (trouble.version, trouble.reason) not in known:
                _log.warning("version %s cannot serve: %s", trouble.version, trouble.reason)
        if line is None:
            last = self._last()
            line = without_old_trial(last, wanted) if last is not None else None
        if line is not None and line is not self._line:
            self._replace(line)

    def _replace(self, line: Line) -> None:
        with self._swapping:
            if self._paused:
                return
            self._line = line
        _log.info("serving %s", line.traffic)
        try:
            remember(self._state, line.traffic)
            self._unwritten = None
        except ServingError as error:
            self._unwritten = str(error)
            _log.warning("%s", error)
        self._loader.prune(versions_of(line.traffic))

    def _restore(self) -> None:
        """The last good line from this machine's copies, where none stands yet."""
        if self._line is not None:
            return
        line = self._last()
        with self._swapping:
            if self._line is None and line is not None:
                self._line = line
                _log.warning("serving, as before the start, %s", line.traffic)

    def _last(self) -> Line | None:
        traffic = remembered(self._state)
        if traffic is None:
            return None
        models, missing = dict[str, ServedModel](), dict[str, str]()
        for version in versions_of(traffic):
            try:
                models[version] = self._loader.from_cache(version)
            except ServingError as error:
                missing[version] = str(error)
        if missing != self._missing:
            self._missing = missing
            _log.warning("versions of the last line that cannot serve: %s", missing or "none")
        return line_of(traffic, models) if traffic.champion in models else None
