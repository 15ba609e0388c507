"""Reads the heads of requests and answers (RFC 9112), and refuses whatever two readers could understand differently. Pure.

What a server or a client gets is written anew from what was understood here (:mod:`.forwarding`), and never passed on as it
came. So an ambiguous head, if one was let through, still means one thing only to those behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# In bytes: more than Node takes (16 KiB), and as much as tornado does. Cookies of single sign-on are large.
LARGEST_HEAD = 65_536
MOST_FIELDS = 256

# How large a field section is at most, in bytes and fields, that is kept for the next request over its connection.
_LONGEST_KEPT, _MOST_KEPT = 2_048, 32

# How long a body is, where that is no number of bytes.
CHUNKED = -1
UNTIL_CLOSE = -2

# RFC 9110 section 5.6.2
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
# RFC 9112 section 3. One space, and no other white space. Bytes beyond ASCII and characters that RFC 3986 does not allow,
# such as "|", are passed on, since browsers send them; but no "#", because those behind could cut the target there.
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
# What names (RFC 9110 section 5.6.2) and lines (section 5.5) are made of.
_IN_NAMES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_IN_LINES = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
_LENGTH = re.compile(rb"[0-9]{1,18}")
# RFC 3986 section 3.2.2, without an empty host (RFC 9110 section 4.2.1) and without user information (section 4.2.4).
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# RFC 9112 section 3.2.2
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)", re.DOTALL)

# Of each field: its name in lower case, and its name and value as they were sent, without white space around the value.
Fields = list[tuple[bytes, bytes, bytes]]
# The values of the fields that matter here, by their names in lower case.
_Known = dict[bytes, list[bytes]]
# How many members a list in one of these fields may have: thousands would only keep others waiting.
_MOST_MEMBERS = 100
_KNOWN = frozenset((b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"))


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
        fields: All fields, in their order.
        connection: The options in the Connection fields, in lower case.
        length: The length of the body in bytes; or :data:`CHUNKED`.
        has_length: Whether there is a Content-Length, which may be 0.
        is_old: Whether it is HTTP/1.0.
        keep: Whether the client goes on using the connection.
        upgrade: Whether it asks for a websocket.
        expects: Whether the client waits for 100 Continue.
        block: The fields as they were received, for another request that has the same; empty if they are not worth it.
        written: These fields as a server gets them, and the client for which they were written; None before that.
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
    block: bytes
    written: tuple[object, bytes] | None = field(default=None, compare=False)

    def with_target(self, target: bytes) -> Request:
        """Return a request that differs in its target only."""
        return Request(
            self.method,
            target,
            self.host,
            self.fields,
            self.connection,
            self.length,
            self.has_length,
            self.is_old,
            self.keep,
            self.upgrade,
            self.expects,
            self.block,
            self.written,
        )

    @property
    def path(self) -> str:
        """The path in ASCII, for :meth:`~traefik_toml_proxy.routes.RouteTable.match`."""
        path = self.target.partition(b"?")[0]
        if not path.isascii():
            path = b"".join(b"%%%02X" % byte if byte > 0x7F else b"%c" % byte for byte in path)
        return path.decode("ascii")

    def get(self, name: bytes) -> bytes:
        """Return the values of all fields of a name, which is in lower case, joined by commas; empty if there is none."""
        return b", ".join([value for key, _, value in self.fields if key == name])


@dataclass(slots=True)
class Answer:
    """The head of an answer.

    Attributes:
        status: The status code.
        reason: The words behind it, as they were sent.
        fields: All fields, in their order.
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


def read_request(head: bytes, last: Request | None = None) -> Request:
    """Read the head of a request.

    Args:
        head: All of it, with the end of the last line, but without the empty line.
        last: The one before over the same connection: browsers often ask for one thing after another with the same fields.

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
    is_origin_form = target.startswith(b"/")
    same = (method, is_old, block)
    if block and is_origin_form and last is not None and same == (last.method, last.is_old, last.block):
        return last.with_target(target)
    if block.count(b"\r\n") > MOST_FIELDS:
        raise BrokenRequest(431, "there are too many header fields")
    section = _read_fields(block)
    if section is None:
        raise BrokenRequest(400, "a header field is malformed")
    fields, known = section
    target, host = _origin_form(method, target, _host(known, is_old=is_old))
    length, connection = _request_length(known, is_old=is_old), _options(known)
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
        upgrade=not is_old and method == b"GET" and length == 0 and _asks_for_websocket(known, connection),
        expects=_expects(known, is_old=is_old),
        # Not if the host is that of the target.
        block=block if is_origin_form and len(block) <= _LONGEST_KEPT and len(fields) <= _MOST_KEPT else b"",
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
    if block.count(b"\r\n") > MOST_FIELDS:
        raise BrokenAnswer("it has too many header fields")
    section = _read_fields(block)
    if section is None:
        raise BrokenAnswer("one of its header fields is malformed")
    fields, known = section
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


def _read_fields(block: bytes) -> tuple[Fields, _Known] | None:
    """Return the fields, and those of them that matter here; None if the block has anything else.

    No obs-fold (RFC 9112 section 5.2), no space before the colon (section 5.1), no bare CR or LF (section 2.2), no NUL.
    """
    lines = block.split(b"\r\n")
    # Without what lines are made of, nothing but their ends may be left.
    if lines.pop() or block.translate(None, _IN_LINES) != b"\r\n" * len(lines):
        return None
    fields: Fields = []
    known: _Known = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            return None
        key, value = name.lower(), value.strip(b" \t")
        fields.append((key, name, value))
        if key in _KNOWN:
            if value.count(b",") > _MOST_MEMBERS:
                return None
            known.setdefault(key, []).append(value)
    if b"".join([field[0] for field in fields]).translate(None, _IN_NAMES):
        return None
    return fields, known


_NOTHING: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset((b"keep-alive",))


def _options(known: _Known) -> frozenset[bytes]:
    values = known.get(b"connection")
    if values is None:
        return _NOTHING
    if len(values) == 1 and values[0].lower() == b"keep-alive":
        return _KEEP_ALIVE
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b","))


def _host(known: _Known, *, is_old: bool) -> bytes:
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
    if method == b"CONNECT":  # whatever its target is: a server could take the connection for a tunnel
        raise BrokenRequest(501, "CONNECT is not offered")
    if target.startswith(b"/"):
        return target, host
    if target == b"*" and method == b"OPTIONS":
        return target, host
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _HOST.fullmatch(match[1]):
        raise BrokenRequest(400, "the request target is neither a path nor a URL")
    rest = match[2]
    return (rest if rest.startswith(b"/") else b"/" + rest), match[1]


def _request_length(known: _Known, *, is_old: bool) -> int:
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


def _asks_for_websocket(known: _Known, connection: frozenset[bytes]) -> bool:
    """Whether the fields ask for a websocket (RFC 6455 section 4.2.1), and for no other protocol."""
    return b"upgrade" in connection and [value.lower() for value in known.get(b"upgrade", ())] == [b"websocket"]


def _expects(known: _Known, *, is_old: bool) -> bool:
    """Whether the client waits for 100 Continue (RFC 9110 section 10.1.1)."""
    expectations = known.get(b"expect")
    if not expectations or is_old:
        return False
    if len(expectations) != 1 or expectations[0].lower() != b"100-continue":
        raise BrokenRequest(417, "nothing but 100-continue can be expected")
    return True


def _answer_length(known: _Known, status: int, method: bytes, *, is_old: bool) -> tuple[int, bool]:
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
