"""Groups the routers of many routes under a few parent routers, so that Traefik matches requests faster. Pure.

Traefik compares a request with one router after another (pkg/muxer/http/mux.go:58-63); with 10,000 routers, that costs more
than everything else. In two layers (``parentRefs``, pkg/server/router/router.go), it compares the request with the parents
first, and then with the children of the parent that matches.

The key of a route is its host and its segments, each followed by a slash. A route matches a request if and only if its key
is a prefix of the request's key. A parent matches the keys in a region: those that start with some text and, in some
regions, continue with a character in some range. Two regions are either nested or disjoint, and a request goes to the
innermost region that contains it. If no route in the region matches, the request belongs to the longest route that encloses
the whole region; that route is an additional child of the region's parent. No other route can match it, so within each group
the routers decide as they would in a flat table.

Most requests outside all regions are for the Hub's own pages. These are also outside the common prefix of all regions
(``/user/``). One more parent matches all that is outside this prefix first, which saves the comparisons with the regions.

The regions are found in a binary tree of all keys, in which each branching halves a range of characters. From the leaves up,
a branching becomes a region if it has enough routes that are not in a region yet. A change of one route affects only the
regions around it. How many routes are enough grows with their total number in small steps, and each region takes these steps
at different totals, so that a change never affects all regions at once.
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

# Below this, a flat table is used. It is easier to read, and takes a tenth more time at most (layers are faster from 50 on).
FEW_ROUTES = 100

# Stands for a slash inside a segment of a key. No segment contains a lone surrogate itself.
_INNER_SLASH = "\udc2f"

# In how many steps the number of routes that are enough for a region doubles.
_STEPS = 8

# The characters that can be raw in the path that Traefik matches, except those that end a segment or start an escape.
_IN_PATH = (("\0", "$"), ("&", "."), ("0", "\ud7ff"), ("\ue000", "\U0010ffff"))
_IN_HOST = (("-", "."), ("0", "9"), ("_", "_"), ("a", "z"))
_ENCODED = sorted(RESERVED - {"/"})
_DOT = r"\."
_IN_CLASS = re.compile(r"[\\\]\[^$-]")


class Parent(NamedTuple):
    """A parent router. It has children instead of a service."""

    name: str
    rule: str
    priority: int


@dataclass(frozen=True, slots=True)
class Layers:
    """The parent routers and their children.

    Attributes:
        parents: The parent routers, outer ones first; empty for a flat table.
        parents_of: For each key, in order, the names of the parents of its router; empty for a flat table.
        without_catch_all: The names of the parents that match requests for which there is no route.
    """

    parents: tuple[Parent, ...]
    parents_of: tuple[tuple[str, ...], ...]
    without_catch_all: tuple[str, ...] = ()


FLAT = Layers((), ())


class _Region(NamedTuple):
    """The keys that start with ``prefix`` and then, unless ``high`` is negative, a character from ``low`` to ``high``."""

    prefix: str
    low: int = 0
    high: int = -1


class _Node(NamedTuple):
    """A branching in the tree of keys. The keys from ``first`` up to but not including ``last`` are those in its region."""

    region: _Region
    first: int
    last: int
    above: int  # the index of the parent node
    enclosing: int | None  # the index of the longest key outside the region that is a prefix of all its keys


def key(place: Place) -> str:
    """Return the key of a place; keys are equal if and only if the places are."""
    if not place.host and not place.segments:
        return ""  # a prefix of all keys, whatever their host
    return place.host + "/" + "".join(segment.replace("/", _INNER_SLASH) + "/" for segment in place.segments)


def arrange(keys: Sequence[str], names: Names) -> Layers:
    """Return the layers for the routes with these keys.

    A request is compared with the parents and with the children of the one that matches. These are at most 3.1 times the
    square root of the number of routes, plus three.

    Args:
        keys: The keys in ascending order, without duplicates.
        names: Makes the names of parents.

    Returns:
        The layers. They are flat if there are few routes, or if some routes are for one host and others, except ``/``, are
        for all hosts (JupyterHub has no such tables: ``validate_routespec``, jupyterhub/proxy.py).
    """
    of_all_hosts = bisect_left(keys, "0") - bisect_left(keys, "/")
    if len(keys) < FEW_ROUTES or 0 < of_all_hosts < len(keys) - (not keys[0]):
        return FLAT
    nodes = _find_nodes(keys, least=_enough_routes(len(keys), ""))
    chosen = _choose_regions(nodes, len(keys))
    parents: list[Parent] = []
    parents_of: list[tuple[str, ...]] = [()] * len(keys)
    depths: list[int] = []
    fallbacks: list[tuple[int, str]] = []
    without_catch_all: list[str] = []
    for node, is_chosen in zip(nodes, chosen, strict=True):
        depths.append(is_chosen + (depths[node.above] if depths else 0))
        if is_chosen:
            parent = Parent(names.region(_region_text(node.region)), _rule(node.region), depths[-1])
            parents.append(parent)
            parents_of[node.first : node.last] = [(parent.name,)] * (node.last - node.first)
            if node.enclosing is not None:
                fallbacks.append((node.enclosing, parent.name))
            elif keys[node.first] != node.region.prefix:
                without_catch_all.append(parent.name)
    prefixes = [node.region.prefix for node, is_chosen in zip(nodes[1:], chosen[1:], strict=True) if is_chosen]
    first, last = min(prefixes, default=""), max(prefixes, default="")
    common = first[: _common_length(first, last, 0)]
    outside = [number for number, key_ in enumerate(keys) if not key_.startswith(common)]
    if chosen[0] and common != "/" and outside:
        parent = Parent(names.outside, f"({_rule(nodes[0].region)}) && !({_rule(_Region(common))})", max(depths) + 1)
        parents.append(parent)
        for number in outside:
            parents_of[number] += (parent.name,)
        if keys[0] != nodes[0].region.prefix:
            without_catch_all.append(parent.name)
    for number, name in fallbacks:
        parents_of[number] += (name,)
    return Layers(tuple(parents), tuple(parents_of), tuple(without_catch_all))


def _enough_routes(count: int, prefix: str | None) -> int:
    """Return how many of ``count`` routes are enough for a region: about the square root of half of ``count``.

    The result grows in steps, at different counts for each prefix. Without a prefix, it is the minimum for all prefixes.
    """
    jitter = 0.0 if prefix is None else crc32(prefix.encode("utf-8", "surrogatepass")) / 2**32
    step = math.floor(math.log2(count / 2) / 2 * _STEPS + jitter)
    return math.ceil(2 ** (step / _STEPS))


def _find_nodes(keys: Sequence[str], least: int) -> list[_Node]:
    """Return the nodes with at least ``least`` keys, outer ones before inner ones; the first one has all keys."""
    nodes: list[_Node] = []
    # The ranges of keys left to do, with the parent node, the length of its common prefix, and the enclosing key.
    waiting: list[tuple[int, int, int, int, int | None]] = [(0, len(keys), -1, -1, None)]
    while waiting:
        first, last, above, common_above, enclosing = waiting.pop()
        common = _common_length(keys[first], keys[last - 1], max(common_above, 0))
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


def _common_length(one: str, other: str, start: int) -> int:
    """Return the length of the common prefix, which is known to be at least ``start``."""
    end = min(len(one), len(other))
    return next((at for at in range(start, end) if one[at] != other[at]), end)


def _choose_regions(nodes: Sequence[_Node], count: int) -> list[bool]:
    """Return for each node whether its region gets a parent: if it has enough routes left, or is the first and has any."""
    chosen = [False] * len(nodes)
    covered = [0] * len(nodes)  # how many of a node's routes are in regions inside it
    for number in range(len(nodes) - 1, 0, -1):
        node = nodes[number]
        size = node.last - node.first
        chosen[number] = node.region != _Region("/") and size - covered[number] >= _enough_routes(
            count, node.region.prefix
        )
        covered[node.above] += size if chosen[number] else covered[number]
    chosen[0] = covered[0] < count  # a parent without children is an error (pkg/server/router/router.go)
    return chosen


def _region_text(region: _Region) -> str:
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
    """Return the pattern for what follows the prefix in a host. After a dot, another character must follow."""
    dotted = region.prefix.endswith(".")
    if region.high < 0:
        return "." if dotted else ""
    forms = [_characters(region, _IN_HOST)]
    if region.low <= ord("/") <= region.high and not dotted:
        forms.append("$")
    return _any_of(forms)


def _next_in_path(region: _Region) -> str:
    """Return the pattern for the next character: raw, encoded if it is reserved; for a slash, also the end of the path."""
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
    """Return the character class of those characters in ``ranges`` that are in the region (there is always at least one)."""
    overlaps = ((max(region.low, ord(first)), min(region.high, ord(last))) for first, last in ranges)
    texts = [
        f"{_in_class(low)}-{_in_class(high)}" if low < high else _in_class(low) for low, high in overlaps if low <= high
    ]
    return f"[{''.join(texts)}]"


def _in_class(code: int) -> str:
    return _IN_CLASS.sub(r"\\\g<0>", chr(code))
