"""Takes secrets out of texts that are shown to people: keys, passwords and tokens. Pure."""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
# In a TOML string, line ends are written as \n.
_KEY = re.compile(r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----)", re.DOTALL)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"'\\]+(?=@)")
# A setting of Traefik's with a secret as its value, alone on its line. The names of routes have a dash.
_SETTING = re.compile(
    r"^(\w*(?:password|passwd|secret|token|apikey|hmacencoded)|users) = .*$", re.IGNORECASE | re.MULTILINE
)


def without_secrets(text: str) -> str:
    """Return a text, such as a line or a whole configuration in TOML, with all that is secret replaced."""
    text = _KEY.sub(rf"\1{HIDDEN}\2", text)
    text = _CREDENTIALS.sub(HIDDEN, text)
    return _SETTING.sub(rf'\1 = "{HIDDEN}"', text)
