"""Take passwords out of text that people will read: an error or an address in, the same without them out. No I/O."""

import re

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)(?P<user>[^\s:/@]*):(?P<password>[^\s/]*)@")
_NAMED = re.compile(
    r"(?P<name>password|passwd|secret\w*|access_key\w*)(?P<sign>['\"]?\s*[=:]\s*)(?P<value>[^\s,;&})]+)", re.I
)


def discreet(text: object) -> str:
    """The text with `***` for every password of a URL (`scheme://user:password@`) and of a `password=` setting."""
    shown = _USERINFO.sub(r"\g<scheme>\g<user>:***@", str(text))
    return _NAMED.sub(r"\g<name>\g<sign>***", shown)
