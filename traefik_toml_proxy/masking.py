"""Takes secrets out of texts that are shown to people: keys, passwords and tokens. Pure."""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
# In a TOML string, line ends are written as \n.
_KEY = re.compile(r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----)", re.DOTALL)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"'\\]+(?=@)")
# Parts of the names of Traefik's settings, of headers and of parameters whose values are secret.
_NAME = (
    r"[\w.-]*(?:pass(?:word|wd|phrase)|secret|token|api-?keys?|authorization|cookie|credential|hmacencoded|privatekey)"
    r"[\w.-]*"
)
# Such a setting, alone on its line; an empty one removes a header. The lines of routes, whose names can be like these, have
# other quotes (see toml_document.py).
_SETTING = re.compile(rf'^("?(?:{_NAME}|users)"?) = (?:\[|"(?!"$)).*$', re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rf"(?<=[?&])({_NAME})=[^&#\s\"'\\]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text, such as a line or a whole configuration in TOML, with all that is secret replaced."""
    text = _KEY.sub(rf"\1{HIDDEN}\2", text)
    text = _CREDENTIALS.sub(HIDDEN, text)
    text = _PARAMETER.sub(rf"\1={HIDDEN}", text)
    return _SETTING.sub(rf'\1 = "{HIDDEN}"', text)
