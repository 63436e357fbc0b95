"""Reach people through apprise: receiver URLs and a wording in, delivered or a reason out. Never shows a URL."""

import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.notification import Severity, Wording

if TYPE_CHECKING:
    from apprise import Apprise, NotifyBase

log = logging.getLogger("selfheal.notifications")

URLS = "SELFHEAL_NOTIFY"
FILE = "SELFHEAL_NOTIFY_FILE"
PATIENCE = {"cto": ("socket_connect_timeout", 2.0), "rto": ("socket_read_timeout", 3.0)}
"""By URL parameter: apprise's attribute, and the seconds to connect and to answer unless the URL says otherwise."""
UNREADABLE = "%s must name a readable file with one URL a line; received %s: %s. Correct it; until then nothing is sent"
NOT_A_RECEIVER = (
    "A receiver must be a URL that apprise understands; received one that {}, not shown because it may hold a secret. "
    "Correct it."
)
TALKATIVE = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")
"""Loggers that write hosts, paths and tokens."""


class _Discreet(logging.Filter):
    """Keeps what apprise and urllib3 say in this thread from every log, and remembers apprise's words."""

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    @contextmanager
    def hushed(self) -> Iterator[list[str]]:
        heard: list[str] = []
        for name in TALKATIVE:
            logging.getLogger(name).addFilter(self)
        self._local.heard = heard
        try:
            yield heard
        finally:
            self._local.heard = None

    def filter(self, record: logging.LogRecord) -> bool:
        heard: list[str] | None = getattr(self._local, "heard", None)
        if heard is None:
            return True
        if record.name == "apprise":
            heard.append(record.getMessage())
        return False


_discreet = _Discreet()


def _reason(heard: list[str]) -> str:
    """Only what is certain to hold no secret: apprise's own sentences name hosts, and answers may repeat a token."""
    said = "\n".join(heard)
    if code := re.search(r"\berror=(\d{3})\b", said):
        return f"it answered HTTP {code[1]}"
    if "onnection error" in said:
        return "it could not be reached, or did not answer in time"
    return "it did not take the message"


class Receiver:
    """One URL. Its name and its id tell receivers apart without the URL."""

    def __init__(self, url: str, service: "NotifyBase", apprise: "Apprise") -> None:
        # Slow on purpose: nobody should find a password in the URL by trying ids.
        digest = hashlib.scrypt(url.encode(), salt=b"selfheal receiver", n=2**13, r=8, p=1, dklen=4).hex()
        self.id = f"{re.sub(r'[^A-Za-z0-9]+', '-', str(service.service_name)).strip('-')}-{digest}"
        self._apprise = apprise

    def __repr__(self) -> str:
        return f"<Receiver {self.id}>"

    def send(self, wording: Wording, severity: Severity) -> str | None:
        """None when it was taken, else why not. Blocks as long as the receiver does; never raises."""
        try:
            with _discreet.hushed() as heard:
                taken = self._apprise.notify(
                    title=wording.title, body=wording.body, notify_type=severity.value, body_format="text"
                )
        except Exception as error:  # A plugin's fault is the receiver's; the text of it may hold the URL.
            return f"apprise failed with {type(error).__name__}"
        return None if taken else _reason(heard)


def receiver(url: str) -> Receiver:
    """Raises SpecError, without the URL, when apprise does not understand it."""
    from apprise import Apprise, AppriseAsset

    # Without a time limit apprise sends in the thread that calls it; with one, in a pool that hung receivers fill up.
    asset = AppriseAsset(app_id="selfheal", app_desc="selfheal", service_timeout=0, pgp_autogen=False)
    try:
        with _discreet.hushed():
            service = Apprise.instantiate(url, asset=asset)
    except Exception as error:  # Whatever a plugin's parser raises means the same, and may repeat the URL.
        raise SpecError(NOT_A_RECEIVER.format(f"apprise failed on with {type(error).__name__}")) from None
    if service is None:
        raise SpecError(NOT_A_RECEIVER.format("it does not"))
    for parameter, (attribute, seconds) in PATIENCE.items():
        if not re.search(rf"[?&]{parameter}=", url):
            setattr(service, attribute, seconds)
    return Receiver(url, service, Apprise(services=service, asset=asset))


class ReceiverList:
    """The receivers that the environment names; built again when what it says changes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._read: tuple[tuple[str, str], ...] | None = None
        self._receivers: dict[str, Receiver] = {}
        self._complaint: tuple[str, ...] = ()

    def current(self) -> dict[str, Receiver]:
        """By id; empty when none is configured, or none can be used."""
        try:
            read = tuple(self._named_urls())
        except (OSError, UnicodeDecodeError) as error:
            # Somebody may have put the URL itself where the file's name belongs.
            path = self._environment[FILE]
            named = "a URL" if "://" in path else path
            self._complain(UNREADABLE, FILE, named, getattr(error, "strerror", None) or "it is not UTF-8")
            return {}
        self._complaint = ()
        if read != self._read:
            self._receivers = _build(read)
            self._read = read
        return self._receivers

    def _complain(self, *words: str) -> None:
        """Once for as long as it stays the same: this is asked every few seconds."""
        if words != self._complaint:
            log.error(*words)
        self._complaint = words

    def _named_urls(self) -> Iterator[tuple[str, str]]:
        """Where each URL stands, and the URL."""
        for number, url in enumerate(self._environment.get(URLS, "").split(), start=1):
            yield f"URL {number} of {URLS}", url
        if path := self._environment.get(FILE, "").strip():
            lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines, start=1):
                if line.strip() and not line.lstrip().startswith("#"):
                    yield f"line {number} of {FILE}", line.strip()


def _build(named: tuple[tuple[str, str], ...]) -> dict[str, Receiver]:
    found: dict[str, Receiver] = {}
    for place, url in named:
        try:
            built = receiver(url)
        except SpecError as error:
            log.error("%s: %s", place, error)
        else:
            found[built.id] = built
    return found
