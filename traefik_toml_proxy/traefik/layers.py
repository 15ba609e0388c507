"""Many routes -> few parent routers, each with a group of the routes' routers as its children. Pure.

Traefik compares a request with one router after the other (pkg/muxer/http/mux.go:58-63), so among 10,000 that costs more
than all the rest. In two layers (``parentRefs``, pkg/server/router/router.go) it compares the request with the parents, and
then with the children of the one that takes it.

A route has a key: its host and its segments, each ended by a slash. It takes a request if and only if its key is the
beginning of the request's own. So do parents: each takes what begins with some text, maybe with one more character out of a
range. Such regions lie beside or inside one another, and the innermost one takes a request. What a region's children do not
take goes to the longest route that encloses the whole region, which is one more child of it. No other route can be meant:
within each group the routers decide as they would in a flat table.

Most requests that no region takes, the Hub's own pages, are outside of what all regions have in common (``/user/``): one
more parent takes these first, so that they are compared with none of the regions.

The regions are found in the tree of all keys, in which each branching halves a range of characters. From the leaves up, a
region is made wherever enough routes have come together that have none yet. A change of one route is seen by the regions
around it only, and how many routes are enough follows their number in small steps, for each region at another one.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from ..routes import Place
from .names import Names
from .rules import RAW_OR_ENCODED, RESERVED, as_matched, as_pattern, go_string, rule

# A flat table is easier to read; with so few routes it costs a request a tenth more time at most (layers pay from 50 on).
FEW_ROUTES = 100

# A slash inside a segment, as it is in a key; no segment holds a lone surrogate.
_INNER_SLASH = "\udc2f"

# In so many steps does the number of routes that are enough for a region double.
_STEPS = 8

# What can be raw in the path that Traefik matches, but for what ends a segment or begins an escape.
_IN_PATH = (("\0", "$"), ("&", "."), ("0", "\ud7ff"), ("\ue000", "\U0010ffff"))
_IN_HOST = (("-", "."), ("0", "9"), ("_", "_"), ("a", "z"))
_ENCODED = sorted(RESERVED - {"/"})
_DOT = r"\."
_IN_CLASS = re.compile(r"[\\\]\[^$-]")


class Parent(NamedTuple):
    """A parent router: it has no service, but children."""

    name: str
    rule: str
    priority: int


@dataclass(frozen=True, slots=True)
class Layers:
    """The parents, and who is whose child.

    Attributes:
        parents: The parent routers, outer ones before inner ones; none for a flat table.
        parents_of: For each key, in their order, the names of its router's parents; empty for a flat table.
    """

    parents: tuple[Parent, ...]
    parents_of: tuple[tuple[str, ...], ...]


FLAT = Layers((), ())


class _Region(NamedTuple):
    """What begins with ``prefix``, and, unless ``high`` is negative, goes on with a character from ``low`` to ``high``."""

    prefix: str
    low: int = 0
    high: int = -1


class _Node(NamedTuple):
    """A branching in the tree of keys: those from ``first`` up to ``last`` are in its region, and are all that are."""

    region: _Region
    first: int
    last: int
    above: int  # the number of the branching above
    enclosing: int | None  # the number of the longest key that encloses the region, if that is none of its own


def key(place: Place) -> str:
    """Return the key of a place; keys are equal if and only if the places are."""
    if not place.host and not place.segments:
        return ""  # encloses all, whatever their host
    return place.host + "/" + "".join(segment.replace("/", _INNER_SLASH) + "/" for segment in place.segments)


def arrange(keys: Sequence[str], names: Names) -> Layers:
    """Return the layers for the routes with these keys.

    A request is compared with at most 3.1 times the square root of their number of routers, and three more: with the
    parents, and with the children of the one that takes it.

    Args:
        keys: In ascending order, no two alike.
        names: Gives the names of parents.

    Returns:
        The layers; flat ones for few routes, and for routes of single hosts together with some, other than ``/``, of all
        hosts (JupyterHub has no such tables: ``validate_routespec``, jupyterhub/proxy.py).
    """
    of_all_hosts = bisect_left(keys, "0") - bisect_left(keys, "/")
    if len(keys) < FEW_ROUTES or 0 < of_all_hosts < len(keys) - (not keys[0]):
        return FLAT
    nodes = _branchings(keys, least=_enough(len(keys), ""))
    chosen = _chosen(nodes, len(keys))
    parents: list[Parent] = []
    parents_of: list[tuple[str, ...]] = [()] * len(keys)
    depths: list[int] = []
    fallbacks: list[tuple[int, str]] = []
    for node, is_chosen in zip(nodes, chosen, strict=True):
        depths.append(is_chosen + (depths[node.above] if depths else 0))
        if is_chosen:
            parent = Parent(names.region(_text_of(node.region)), _rule(node.region), depths[-1])
            parents.append(parent)
            parents_of[node.first : node.last] = [(parent.name,)] * (node.last - node.first)
            if node.enclosing is not None:
                fallbacks.append((node.enclosing, parent.name))
    prefixes = [node.region.prefix for node, is_chosen in zip(nodes[1:], chosen[1:], strict=True) if is_chosen]
    first, last = min(prefixes, default=""), max(prefixes, default="")
    common = first[: _common(first, last, 0)]
    outside = [number for number, found in enumerate(keys) if not found.startswith(common)]
    if chosen[0] and common != "/" and outside:
        parent = Parent(names.outside, f"({_rule(nodes[0].region)}) && !({_rule(_Region(common))})", max(depths) + 1)
        parents.append(parent)
        for number in outside:
            parents_of[number] += (parent.name,)
    for number, name in fallbacks:
        parents_of[number] += (name,)
    return Layers(tuple(parents), tuple(parents_of))


def _enough(count: int, prefix: str | None) -> int:
    """Return how many routes, of ``count``, make a region: about the square root of half of them.

    It grows in steps, for each prefix at other times; without a prefix it is the least that it can be.
    """
    jitter = 0.0 if prefix is None else crc32(prefix.encode("utf-8", "surrogatepass")) / 2**32
    step = math.floor(math.log2(count / 2) / 2 * _STEPS + jitter)
    return math.ceil(2 ** (step / _STEPS))


def _branchings(keys: Sequence[str], least: int) -> list[_Node]:
    """Return the branchings with at least ``least`` keys, outer ones before inner ones; the first one has all keys."""
    nodes: list[_Node] = []
    # Ranges of keys still to be looked at, the branching above each, and how much text they have in common there.
    waiting: list[tuple[int, int, int, int, int | None]] = [(0, len(keys), -1, -1, None)]
    while waiting:
        first, last, above, common_above, enclosing = waiting.pop()
        common = _common(keys[first], keys[last - 1], max(common_above, 0))
        prefix = keys[first][:common]
        is_route = common == len(keys[first])
        inner = first + is_route
        low, high = ord(keys[inner][common]), ord(keys[last - 1][common])
        bits = (low ^ high).bit_length()
        region = _Region(prefix)
        if common == common_above:
            start = low >> bits << bits
            region = _Region(prefix, start, start + (1 << bits) - 1)
        number = len(nodes)
        nodes.append(_Node(region, first, last, above, None if is_route else enclosing))
        middle = inner
        if bits:
            half = bits - 1
            middle = bisect_left(keys, prefix + chr(high >> half << half), inner, last)
        for begin, end in ((middle, last), (inner, middle)):
            if end - begin >= least:
                waiting.append((begin, end, number, common, first if is_route else enclosing))
    return nodes


def _common(one: str, other: str, start: int) -> int:
    """Return how many characters at their beginning are alike; those before ``start`` are known to be."""
    end = min(len(one), len(other))
    return next((at for at in range(start, end) if one[at] != other[at]), end)


def _chosen(nodes: Sequence[_Node], count: int) -> list[bool]:
    """Return for each branching whether its region gets a parent: it has enough routes left, or is the first one."""
    chosen = [False] * len(nodes)
    taken = [0] * len(nodes)  # how many of its routes are in regions inside it
    for number in range(len(nodes) - 1, 0, -1):
        node = nodes[number]
        size = node.last - node.first
        chosen[number] = node.region != _Region("/") and size - taken[number] >= _enough(count, node.region.prefix)
        taken[node.above] += size if chosen[number] else taken[number]
    chosen[0] = taken[0] < count  # a parent without children is an error (pkg/server/router/router.go)
    return chosen


def _text_of(region: _Region) -> str:
    return f"{region.low}-{region.high}-{region.prefix}"


def _rule(region: _Region) -> str:
    """Return the rule that matches the requests in a region."""
    if not region.prefix and region.high < 0:
        return 'PathPrefix("/")'
    host, slash, path = region.prefix.partition("/")
    if not slash:
        return f"HostRegexp({go_string('^' + host.replace('.', _DOT) + _next_in_host(region))})"
    *segments, last = [text.replace(_INNER_SLASH, "/") for text in path.split("/")]
    if not last and region.high < 0:
        return rule(Place(host, tuple(segments)))
    texts = [*segments, last]
    if region.high < 0 and not any(map(RAW_OR_ENCODED.intersection, texts)):
        begins = "".join("/" + "".join(map(as_matched, text)) for text in texts)
        path_rule = f"PathPrefix({go_string(begins)})"
    else:
        begins = "".join("/" + "".join(map(as_pattern, text)) for text in texts)
        path_rule = f"PathRegexp({go_string('^' + begins + _next_in_path(region))})"
    return f"Host({go_string(host)}) && {path_rule}" if host else path_rule


def _next_in_host(region: _Region) -> str:
    """Return the pattern for what comes after the beginning of a host: at a dot's end, which means nothing, more must."""
    dotted = region.prefix.endswith(".")
    if region.high < 0:
        return "." if dotted else ""
    forms = [_characters(region, _IN_HOST)]
    if region.low <= ord("/") <= region.high and not dotted:
        forms.append("$")
    return _any_of(forms)


def _next_in_path(region: _Region) -> str:
    """Return the pattern for the next character: as it is, encoded if it is reserved, and, like a slash, no more of them."""
    if region.high < 0:
        return ""
    forms = [_characters(region, _IN_PATH)]
    forms += [as_matched(character) for character in _ENCODED if region.low <= ord(character) <= region.high]
    if region.low <= ord(_INNER_SLASH) <= region.high:
        forms.append(as_matched("/"))
    if region.low <= ord("/") <= region.high:
        forms += ["/", "$"]
    return _any_of(forms)


def _any_of(forms: Sequence[str]) -> str:
    return forms[0] if len(forms) == 1 else f"(?:{'|'.join(forms)})"


def _characters(region: _Region, ranges: Sequence[tuple[str, str]]) -> str:
    """Return the class of those characters in some ranges that are in a region (at least one always is)."""
    found = ((max(region.low, ord(first)), min(region.high, ord(last))) for first, last in ranges)
    texts = [
        f"{_in_class(low)}-{_in_class(high)}" if low < high else _in_class(low) for low, high in found if low <= high
    ]
    return f"[{''.join(texts)}]"


def _in_class(code: int) -> str:
    return _IN_CLASS.sub(r"\\\g<0>", chr(code))
