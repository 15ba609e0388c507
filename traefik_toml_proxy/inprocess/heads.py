"""Reads the heads of requests and answers (RFC 9112), and refuses whatever two readers could understand differently. Pure.

What a server or a client gets is written anew from what was understood here (:mod:`.forwarding`), and never passed on as it
came. So an ambiguous head, if one was let through, still means one thing only to those behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# In bytes: more than Node takes (16 KiB), and as much as tornado does. Cookies of single sign-on are large.
LARGEST_HEAD = 65_536
MOST_FIELDS = 256

# How long a body is, where that is no number of bytes.
CHUNKED = -1
UNTIL_CLOSE = -2

# RFC 9110 section 5.6.2
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
# RFC 9112 section 3. One space, and no other white space. Bytes beyond ASCII and characters that RFC 3986 does not allow,
# such as "|", are passed on, since browsers send them; but no "#", because those behind could cut the target there.
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
# RFC 9110 section 5.5. No obs-fold (RFC 9112 section 5.2), no space before the colon (section 5.1), no bare CR or LF
# (section 2.2), no NUL. Each part ends where the next begins, so this takes linear time.
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb"+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
# Finds them in what the line above has matched.
_FIELD = re.compile(rb"([^:]+):[ \t]*([^\r]*)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# RFC 3986 section 3.2.2, without an empty host (RFC 9110 section 4.2.1) and without user information (section 4.2.4).
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# RFC 9112 section 3.2.2
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)", re.DOTALL)

Fields = list[tuple[bytes, bytes]]


class BrokenRequest(Exception):
    """A request that is refused; its connection is closed, since nobody knows where the next one begins.

    Attributes:
        status: The status of the answer.
        reason: What is wrong with it, in words; nothing from the request.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class BrokenAnswer(Exception):
    """An answer that is not HTTP, or could be understood in two ways; the message says what is wrong, without its text."""


@dataclass(slots=True)
class Request:
    """The head of a request.

    Attributes:
        method: As it was sent.
        target: The path and query as they were sent, or ``*``.
        host: What the client takes us for: of the Host field, or of an absolute target; empty in HTTP/1.0 without either.
        fields: Names and values as they were sent, without white space around the values.
        connection: The options in the Connection fields, in lower case.
        length: The length of the body in bytes; or :data:`CHUNKED`.
        has_length: Whether there is a Content-Length, which may be 0.
        is_old: Whether it is HTTP/1.0.
        keep: Whether the client goes on using the connection.
        upgrade: Whether it asks for a websocket.
        expects: Whether the client waits for 100 Continue.
    """

    method: bytes
    target: bytes
    host: bytes
    fields: Fields
    connection: frozenset[bytes]
    length: int
    has_length: bool
    is_old: bool
    keep: bool
    upgrade: bool
    expects: bool

    @property
    def path(self) -> str:
        """The path in ASCII, for :meth:`~traefik_toml_proxy.routes.RouteTable.match`."""
        path = self.target.partition(b"?")[0]
        if not path.isascii():
            path = b"".join(b"%%%02X" % byte if byte > 0x7F else b"%c" % byte for byte in path)
        return path.decode("ascii")

    def get(self, name: bytes) -> bytes:
        """Return the values of all fields of a name, which is in lower case, joined by commas; empty if there is none."""
        return b", ".join([value for key, value in self.fields if key.lower() == name])


@dataclass(slots=True)
class Answer:
    """The head of an answer.

    Attributes:
        status: The status code.
        reason: The words behind it, as they were sent.
        fields: Names and values as they were sent, without white space around the values.
        connection: The options in the Connection fields, in lower case.
        length: The length of the body in bytes; or :data:`CHUNKED` or :data:`UNTIL_CLOSE`.
        keep: Whether the connection can be used again after the body.
    """

    status: int
    reason: bytes
    fields: Fields
    connection: frozenset[bytes]
    length: int
    keep: bool


def read_request(head: bytes) -> Request:
    """Read the head of a request.

    Args:
        head: All of it, with the end of the last line, but without the empty line.

    Raises:
        BrokenRequest: If it is to be refused.
    """
    line, _, block = head.partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BrokenRequest(400, "the request line is malformed")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in b"01":
        raise BrokenRequest(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    is_old = minor == b"0"
    fields = _read_fields(block)
    if fields is None:
        raise BrokenRequest(400, "a header field is malformed")
    if len(fields) > MOST_FIELDS:
        raise BrokenRequest(431, "there are too many header fields")
    known = _known(fields)
    host = _host(known, is_old=is_old)
    target, host = _origin_form(method, target, host)
    length = _request_length(known, is_old=is_old)
    connection = _options(known)
    return Request(
        method=method,
        target=target,
        host=host,
        fields=fields,
        connection=connection,
        length=length,
        has_length=b"content-length" in known,
        is_old=is_old,
        keep=b"close" not in connection and (not is_old or b"keep-alive" in connection),
        upgrade=(
            not is_old
            and method == b"GET"
            and length == 0
            and b"upgrade" in connection
            and [value.lower() for value in known.get(b"upgrade", ())] == [b"websocket"]
        ),
        expects=_expects(known, is_old=is_old),
    )


def read_answer(head: bytes, method: bytes) -> Answer:
    """Read the head of an answer.

    Args:
        head: All of it, with the end of the last line, but without the empty line.
        method: That of the request.

    Raises:
        BrokenAnswer: If it is to be refused.
    """
    line, _, block = head.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BrokenAnswer("its status line is malformed, or not HTTP/1")
    is_old, status = match[1] == b"0", int(match[2])
    fields = _read_fields(block)
    if fields is None:
        raise BrokenAnswer("one of its header fields is malformed")
    known = _known(fields)
    connection = _options(known)
    length, is_clear = _answer_length(known, status, method, is_old=is_old)
    keep = is_clear and length != UNTIL_CLOSE and b"close" not in connection
    return Answer(
        status=status,
        reason=match[3] or b"",
        fields=fields,
        connection=connection,
        length=length,
        keep=keep and (not is_old or b"keep-alive" in connection),
    )


def is_field_line(line: bytes) -> bool:
    """Whether this is a well-formed line of a trailer section, with its end (RFC 9112 section 7.1.2)."""
    return bool(line) and _read_fields(line) is not None


def _read_fields(block: bytes) -> Fields | None:
    """Return the fields, or None if the block has anything else."""
    if _FIELDS.fullmatch(block) is None:
        return None
    fields = _FIELD.findall(block)
    if b" \r\n" in block or b"\t\r\n" in block:
        return [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


_KNOWN = frozenset((b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"))


def _known(fields: Fields) -> dict[bytes, list[bytes]]:
    """Return the values of the fields that matter here, by their names in lower case."""
    known: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        key = name.lower()
        if key in _KNOWN:
            known.setdefault(key, []).append(value)
    return known


def _options(known: dict[bytes, list[bytes]]) -> frozenset[bytes]:
    values = known.get(b"connection")
    if not values:
        return frozenset()
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b","))


def _host(known: dict[bytes, list[bytes]], *, is_old: bool) -> bytes:
    """Return the value of the Host field (RFC 9112 section 3.2)."""
    hosts = known.get(b"host", [])
    if not hosts and is_old:
        return b""
    if len(hosts) != 1:
        raise BrokenRequest(400, "there is no Host field, or more than one")
    if not _HOST.fullmatch(hosts[0]):
        raise BrokenRequest(400, "the Host field is not a host")
    return hosts[0]


def _origin_form(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Return the target without a scheme and a host, and the host that it had; else the one given (RFC 9112 section 3.2)."""
    if target.startswith(b"/"):
        return target, host
    if method == b"CONNECT":
        raise BrokenRequest(501, "CONNECT is not offered")
    if target == b"*" and method == b"OPTIONS":
        return target, host
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _HOST.fullmatch(match[1]):
        raise BrokenRequest(400, "the request target is neither a path nor a URL")
    rest = match[2]
    return (rest if rest.startswith(b"/") else b"/" + rest), match[1]


def _request_length(known: dict[bytes, list[bytes]], *, is_old: bool) -> int:
    """Return the length of the body of a request (RFC 9112 sections 6.1 to 6.3)."""
    codings, lengths = known.get(b"transfer-encoding"), known.get(b"content-length")
    if codings is not None:
        if is_old:
            raise BrokenRequest(400, "HTTP/1.0 has no Transfer-Encoding")
        if lengths is not None:
            raise BrokenRequest(400, "there are both Transfer-Encoding and Content-Length")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise BrokenRequest(501, "no Transfer-Encoding but chunked is known here")
        return CHUNKED
    if lengths is None:
        return 0
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise BrokenRequest(400, "the Content-Length is no number, or there are several")
    return int(lengths[0])


def _expects(known: dict[bytes, list[bytes]], *, is_old: bool) -> bool:
    """Whether the client waits for 100 Continue (RFC 9110 section 10.1.1)."""
    expectations = known.get(b"expect")
    if not expectations or is_old:
        return False
    if len(expectations) != 1 or expectations[0].lower() != b"100-continue":
        raise BrokenRequest(417, "nothing but 100-continue can be expected")
    return True


def _answer_length(known: dict[bytes, list[bytes]], status: int, method: bytes, *, is_old: bool) -> tuple[int, bool]:
    """Return the length of the body of an answer, and whether its framing is beyond doubt (RFC 9112 section 6.3)."""
    codings, lengths = known.get(b"transfer-encoding"), known.get(b"content-length")
    if codings is not None and lengths is not None:
        raise BrokenAnswer("it has both Transfer-Encoding and Content-Length")
    if lengths is not None and (len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0])):
        raise BrokenAnswer("its Content-Length is no number, or there are several")
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return 0, True
    if codings is not None:
        # Node takes both of these: "chunked" twice, which is forbidden, and "identity" of RFC 2616.
        names = {coding.strip(b" \t").lower() for value in codings for coding in value.split(b",")}
        if names == {b"identity"}:
            return UNTIL_CLOSE, False
        if names != {b"chunked"}:
            raise BrokenAnswer("its Transfer-Encoding is not chunked")
        return CHUNKED, len(codings) == 1 and codings[0].lower() == b"chunked" and not is_old
    return (UNTIL_CLOSE, True) if lengths is None else (int(lengths[0]), True)
