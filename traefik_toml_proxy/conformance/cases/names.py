"""Cases of names: whatever users are called, each of them gets their own requests. Does I/O through the stage."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

from ..case import Group, Level, expect
from ..stage import Stage

GROUP = Group("names")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND

_ESCAPED = "jupyterhub/utils.py:503: names are escaped with quote(name, safe='@~')"
_BROWSER = "https://url.spec.whatwg.org/#path-percent-encode-set: what browsers do not escape"


def _escaped(name: str) -> str:
    return quote(name, safe="@~")


def _as_browsers_send(name: str) -> str:
    return quote(name, safe="!$&'()*+,;=:@~[]|")


async def _expect_reached(stage: Stage, *names: str, raw: bool = True) -> None:
    """Add a user of each name, and check that they are reached as JupyterHub links to them and as browsers send that."""
    hub = await stage.serve("/")
    for name in names:
        ada = await stage.backend("the user")
        await stage.add(f"/user/{_escaped(name)}/", ada)
        forms = {_escaped(name)} | ({_as_browsers_send(name)} if raw else set())
        for form in sorted(forms):
            await stage.expect_by(ada, f"/user/{form}/lab")
            await stage.expect_by(ada, f"/user/{form}")
            await stage.expect_by(hub, f"/user/{form}x/lab")
        await stage.proxy.delete_route(f"/user/{_escaped(name)}/")


@GROUP.case("plain", _R, "jupyterhub/auth.py: most users have such names")
async def _plain(stage: Stage) -> None:
    """Letters, digits, ``.``, ``-`` and ``_`` in a name stand for themselves."""
    await _expect_reached(stage, "ada", "ada.lovelace", "ada-l_1", "0123", "A.B-c_d")


@GROUP.case("mail-address", _R, _ESCAPED)
async def _mail_address(stage: Stage) -> None:
    """A user whose name is an email address is reached with a raw at sign, as in JupyterHub's links."""
    hub = await stage.serve("/")
    ada = await stage.serve("/user/ada@example.org/")
    await stage.expect_by(ada, "/user/ada@example.org/lab")
    await stage.expect_by(hub, "/user/ada/lab")


@GROUP.case("mail-address-encoded", _E, "pages make links with encodeURIComponent, which escapes the at sign")
async def _mail_address_encoded(stage: Stage) -> None:
    """A user whose name is an email address is also reached with ``%40``."""
    ada = await stage.serve("/user/ada@example.org/")
    await stage.expect_by(ada, "/user/ada%40example.org/lab")


@GROUP.case("space", _E, _ESCAPED)
async def _space(stage: Stage) -> None:
    """A name with spaces is reached."""
    await _expect_reached(stage, "ada lovelace", "a  b")


@GROUP.case("unicode", _E, _ESCAPED)
async def _unicode(stage: Stage) -> None:
    """A name in any script is reached, with lower-case escapes as well."""
    await _expect_reached(stage, "秀樹", "Zoë", "🧑\u200d🔬", "ß")
    zoe = await stage.serve("/user/Zo%C3%AB/")
    await stage.expect_by(zoe, "/user/Zo%c3%ab/lab")


@GROUP.case("reserved-raw", _E, _BROWSER)
async def _reserved_raw(stage: Stage) -> None:
    """A name with reserved characters is reached with these raw, as browsers send them."""
    await _expect_reached(stage, "it's", "a+b", "a,b;c", "x=1&y=2", "a:b", "(a)", "a!b*", "$a", "[a]")


@GROUP.case("reserved-encoded", _R, _ESCAPED)
async def _reserved_encoded(stage: Stage) -> None:
    """A name with reserved characters is reached with these escaped, as in JupyterHub's links."""
    await _expect_reached(stage, "it's", "a+b", "x=1&y=2", "a:b", "(a)", "a?b#c", raw=False)


@GROUP.case("punctuation", _E, _ESCAPED)
async def _punctuation(stage: Stage) -> None:
    """Quotes, braces, backticks, backslashes and the like in a name are ordinary characters."""
    await _expect_reached(stage, 'a"b', "a`b", "a{b}", "a<b>", "a\\b", "a^b", "a|b", raw=False)


@GROUP.case("percent", _E, _ESCAPED)
async def _percent(stage: Stage) -> None:
    """A percent sign in a name does not start an escape."""
    hub = await stage.serve("/")
    literal = await stage.serve("/user/a%2540b/")
    await stage.expect_by(literal, "/user/a%2540b/lab")
    await stage.expect_by(hub, "/user/a%40b/lab")


@GROUP.case("tilde", _E, "RFC 3986 section 2.3; jupyterhub/utils.py:503: quote(name, safe='@~')")
async def _tilde(stage: Stage) -> None:
    """A tilde is the same raw and escaped, as all unreserved characters are."""
    await _expect_reached(stage, "~ada")
    ada = await stage.serve("/user/~bob/")
    await stage.expect_by(ada, "/user/%7Ebob/lab")
    await stage.expect_by(ada, "/user/%7e%62ob/lab")


@GROUP.case("service", _E, "jupyterhub/services/service.py:411: names of services are not escaped")
async def _service(stage: Stage) -> None:
    """A service whose name has a space, an apostrophe, or letters beyond ASCII is reached."""
    hub = await stage.serve("/")
    for name in ("my service", "dienst-ü", "o'clock", "a+b"):
        service = await stage.backend("the service")
        await stage.add(f"/services/{name}/", service)
        await stage.expect_by(service, f"/services/{quote(name)}/x")
        await stage.expect_by(hub, f"/services/{quote(name)}2/x")
        await stage.proxy.delete_route(f"/services/{name}/")


@GROUP.case("service-round-trip", _E, "jupyterhub/proxy.py: check_routes compares the routespecs of services")
async def _service_round_trip(stage: Stage) -> None:
    """The routespec of a service with a space or an umlaut comes back as it was added."""
    specs = {"/services/my service/", "/services/dienst-ü/"}
    for spec in specs:
        await stage.add(spec, "http://127.0.0.1:1001")
    routes = set(await stage.proxy.get_all_routes())
    expect(specs <= routes, f"{sorted(specs - routes)} are not among {sorted(routes)}")


@GROUP.case("slash-in-server", _B, "jupyterhub 5: a server name may have a slash, escaped as %2F", sensitive=True)
async def _slash_in_server(stage: Stage) -> None:
    """An escaped slash is part of a name, and never leads to another server."""
    ada, other = await stage.serve("/user/ada/"), await stage.serve("/user/ada/a/")
    slash = await stage.serve("/user/ada/a%2Fb/")
    await stage.expect_by(slash, "/user/ada/a%2Fb/lab")
    await stage.expect_by(other, "/user/ada/a/b/lab")
    await stage.expect_by(ada, "/user/ada/lab")


@GROUP.case("lookalikes", _B, _ESCAPED, sensitive=True)
async def _lookalikes(stage: Stage) -> None:
    """Names that differ only in case, or in how they are escaped, are different users."""
    names = ["team-a", "Team-A", "a@b", "a%40b", "a%2540b", "a+b", "a b", "a%20b"]
    backends = {name: await stage.serve(f"/user/{_escaped(name)}/") for name in names}
    for name, backend in backends.items():
        await stage.expect_by(backend, f"/user/{_escaped(name)}/lab")


@GROUP.case("injection", _B, "whatever language a proxy has its rules in", sensitive=True)
async def _injection(stage: Stage) -> None:
    """A name crafted to break out of a rule, a template or a file reaches its own server, and affects no other route."""
    bob = await stage.serve("/user/bob/")
    names = [
        'a") || PathPrefix("/',
        "a`) || PathPrefix(`/",
        "{{ env `HOME` }}",
        'x"\n[http]\n',
        "a\r\nb",
        ".*",
        "║",
        "\\",
    ]
    for name in names:
        spec = f"/user/{_escaped(name)}/"
        mallory = await stage.backend("mallory")
        try:
            await stage.add(spec, mallory)
        except ValueError:
            pass
        else:
            await stage.expect_by(mallory, f"{spec}lab")
        await stage.expect_by(bob, "/user/bob/lab")
        await stage.expect_by(None, "/user/carol/lab")
        await stage.proxy.delete_route(spec)


@GROUP.case("dots", _B, "RFC 3986 section 5.2.4: dot segments are resolved away", sensitive=True)
async def _dots(stage: Stage) -> None:
    """A user named ``..`` or ``.`` is refused, or at least receives nobody else's requests."""
    hub, bob = await stage.serve("/"), await stage.serve("/user/bob/")
    for name in ("..", ".", "%2E%2E", "%2e"):
        mallory = await stage.backend("mallory")
        with contextlib.suppress(ValueError):
            await stage.add(f"/user/{name}/", mallory)
        await stage.expect_by(hub, "/hub/home")
        await stage.expect_by(bob, "/user/bob/lab")
        await stage.proxy.delete_route(f"/user/{name}/")


@GROUP.case("long", _B, "jupyterhub/orm.py: a name may have 255 characters, of nine bytes each when escaped")
async def _long(stage: Stage) -> None:
    """A name as long as JupyterHub's database allows is reached."""
    for name in ("x" * 255, "é" * 255, "秀" * 255):
        ada = await stage.backend("the user")
        await stage.add(f"/user/{_escaped(name)}/", ada)
        await stage.expect_by(ada, f"/user/{_escaped(name)}/lab")
