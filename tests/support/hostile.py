"""Hostile text: names and data that try to break out of a rule, a string, a template or a path."""

from __future__ import annotations

from urllib.parse import quote

# Each ASCII character that can be a name: a slash ends a name, and browsers resolve a single dot away.
SINGLE_CHARACTERS = [chr(code) for code in range(128) if chr(code) not in "/."]

# Ends a rule's string literal, in each of Go's forms, and begins a second rule.
RULE_INJECTIONS = [
    'a") || PathPrefix("/',
    "a`) || PathPrefix(`/",
    "a') || PathPrefix('/",
    'a\\") || PathPrefix(\\"/',
    '"',
    "`",
    '\\"',
    "\\",
    "a\\u0022) || PathPrefix(\\u0022/",
    "a\\x22",
    "a\\101",
    ".*",
    "(?i)a",
    "a(/|$)|.*",
    "^a$",
    "[a-z]+",
    "a{1,9}",
    "\\Qa\\E",
    "$1",
    "${1}",
    "Path(`/`)",
    "!Host(`a`)",
]

# Ends a TOML string, begins a table, a comment or an escape.
TOML_INJECTIONS = [
    'x"\n[http.routers.evil]\nrule = "PathPrefix(`/`)"\n#',
    "x'''\n[http]\n",
    'x"""\n[http]\n',
    '"""',
    "'''",
    "''",
    'x" # comment',
    "# comment",
    "[table]",
    "[[array]]",
    "]]",
    "[",
    "]",
    "a=b",
    "=",
    "a.b.c",
    "\\u0041",
    "\\U00000041",
    "\\\\u0041 \\U",
    "\\x41",
    "\x17 \\x41",
    "\\",
    "\\\\",
    "a\\\nb",
    "a\r\nb",
    "a\tb",
    "a\x7fb",
    "a\x85b\u2028c\u2029d",
]

# Traefik runs the file through Go's text/template before it parses it, and joins lists with a special character.
TEMPLATE_INJECTIONS = [
    "{{",
    "}}",
    "{{ }}",
    '{{ env "HOME" }}',
    "{{.}}",
    "{{- /* comment */ -}}",
    '{{ "{{" }}',
    "{{ range .x }}",
    "{ { } }",
    "{%  %}",
    "{",
    "a{",
    "\\{{",
    "{\u200b{",
    "a║b",
    "║",
    "║║24║║",
]

# Text with unusual direction, width, case or normalization.
UNICODE_TEXTS = [
    "é",
    "e\u0301",
    "秀樹",
    "Ω",
    "ß",
    "İ",
    "\N{LATIN SMALL LETTER LONG S}",
    "K",
    "\N{KELVIN SIGN}",
    "🧑‍🔬",
    "\u202egpj.exe",
    "\u2066a\u2069",
    "a\u200fb",
    "a\u200bb",
    "\ufeffa",
    "\u0000a",
    "a\u00a0b",
    "\ufffd",
    "\U0010ffff",
    "\ue000",
]

# Names that differ only in case or in one more level of escaping; each is another user.
LOOKALIKES = [
    "Team-A",
    "team-a",
    "TEAM-A",
    "a@b",
    "a%40b",
    "a%2540b",
    "a'b",
    "a%27b",
    "a b",
    "a%20b",
    "a+b",
    "a%2Bb",
    "a%b",
    "a%25b",
    "a%2fb",
    "a%2Fb",
    "%41",
    "%61",
    "~",
    "%7e",
    "%7E",
    "-",
    "--",
    "_",
    "...",
    ". .",
    "123",
    "0",
    "jupyterhub-revision",
    "noop@internal",
    "a@file",
    "default",
    "constructor",
    "__proto__",
    "*",
    "a*",
    "a;b",
    "a?b",
    "a#b",
    "a&b=c",
    "a:b",
    "a,b",
    "a|b",
    "<script>",
    "%",
    "%%",
    "%zz",
    "%2",
]

LONG_TEXTS = ["x" * 10_000, "é" * 10_000, "@" * 10_000, '"' * 10_000, "\\" * 10_000, "{{" * 5_000, "%" * 10_000]

# Names of users and named servers; JupyterHub percent-encodes them.
NAMES = list(
    dict.fromkeys(
        SINGLE_CHARACTERS
        + RULE_INJECTIONS
        + TOML_INJECTIONS
        + TEMPLATE_INJECTIONS
        + UNICODE_TEXTS
        + LOOKALIKES
        + LONG_TEXTS
    )
)
# An encoded slash is part of a name; a raw one would end it.
NAMES.extend(["a/b", "a/", "//"])

# Names of services, which reach a proxy raw (jupyterhub/services/service.py:411); JupyterHub accepts no slash or escape.
RAW_NAMES = [name for name in NAMES if "%" not in name and "/" not in name]


def escaped(name: str) -> str:
    """Return a name as JupyterHub escapes it (jupyterhub/utils.py:503)."""
    return quote(name, safe="@~")


def as_browsers_send(name: str) -> str:
    """Return a name as a browser sends it when it is typed into the address bar.

    Browsers encode what the URL standard's path percent-encode set names (https://url.spec.whatwg.org), and nothing else.
    """
    return quote(name, safe="!$&'()*+,;=:@~[]|")
