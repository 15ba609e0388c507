"""The client of etcd's gateway, with a real etcd: its answers, its failures, users and certificates."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.certificates import Pair, make_certificate
from support.etcd import Etcd, running_etcd
from support.hostile import RULE_INJECTIONS, TOML_INJECTIONS
from support.ports import free_port
from support.relay import Relay
from support.waiting import PATIENCE, eventually, meanwhile, within

from traefik_toml_proxy.errors import ConfigurationError, EtcdCompacted, EtcdRefused, EtcdUnreachable
from traefik_toml_proxy.stores import etcd_gateway
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway, _NoAnswer
from traefik_toml_proxy.stores.etcd_messages import (
    Event,
    Transaction,
    delete,
    get,
    is_created_at,
    is_modified_at,
    prefix_end,
    put,
)
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings, endpoints_of

TIMEOUT = 10 * PATIENCE


@contextlib.asynccontextmanager
async def client(settings: EtcdSettings) -> AsyncIterator[EtcdGateway]:
    gateway = EtcdGateway(settings)
    try:
        yield gateway
    finally:
        await gateway.close()


async def events_of(gateway: EtcdGateway, start: int, into: list[Event]) -> None:
    """Watch all keys from a revision on, until this is cancelled or the watch ends."""
    async with contextlib.aclosing(gateway.watch(b"/", b"0", start)) as watch:
        async for message in watch:
            into.extend(message.events)


async def test_keys_and_values_come_back_exactly(etcd: Etcd) -> None:
    """Whatever bytes they are."""
    pairs = {f"/exact/{text}".encode(): text.encode() for text in [*RULE_INJECTIONS, *TOML_INJECTIONS, "\0", "é"]}
    pairs[b"/exact/\xff\xfe"] = bytes(range(256))
    async with client(etcd.settings) as gateway:
        await gateway.transact(Transaction([], [put(key, value) for key, value in pairs.items()]), timeout=TIMEOUT)
        found = await gateway.range(b"/exact/", prefix_end(b"/exact/"), timeout=TIMEOUT)

    assert {item.key: item.value for item in found.found} == pairs
    assert found.total == len(pairs)


async def test_a_transaction_is_carried_out_if_its_comparison_is_true(etcd: Etcd) -> None:
    """Otherwise, its other operations are."""
    async with client(etcd.settings) as gateway:
        first = await gateway.transact(Transaction([is_created_at(b"/txn", 0)], [put(b"/txn", b"1")]), timeout=TIMEOUT)
        second = await gateway.transact(
            Transaction([is_modified_at(b"/txn", first.revision + 1)], [delete(b"/txn")], [get(b"/txn")]),
            timeout=TIMEOUT,
        )

    assert first.succeeded
    assert not second.succeeded
    assert [item.value for item in second.ranges[0].found] == [b"1"]
    assert second.ranges[0].found[0].modified == first.revision
    assert second.cluster == first.cluster != 0


async def test_an_old_revision_can_be_read_until_it_is_compacted(etcd: Etcd) -> None:
    async with client(etcd.settings) as gateway:
        old = (await gateway.transact(Transaction([], [put(b"/old", b"1")]), timeout=TIMEOUT)).revision
        new = (await gateway.transact(Transaction([], [put(b"/old", b"2")]), timeout=TIMEOUT)).revision
        before = await gateway.range(b"/old", timeout=TIMEOUT, revision=old)
        etcd.control("compaction", str(new))
        with pytest.raises(EtcdCompacted):
            await gateway.range(b"/old", timeout=TIMEOUT, revision=old)
        with pytest.raises(EtcdCompacted) as caught:
            await events_of(gateway, old, [])

    assert before.found[0].value == b"1"
    assert caught.value.revision == new


async def test_a_lease_lasts_as_long_as_it_is_renewed(etcd: Etcd) -> None:
    """A key with a lease goes with it; renewing what has gone says so, and revoking it does no harm."""
    async with client(etcd.settings) as gateway:
        lease = await gateway.grant(60, timeout=TIMEOUT)
        await gateway.transact(Transaction([], [put(b"/leased", b"1", lease)]), timeout=TIMEOUT)
        assert await gateway.keep_alive(lease, timeout=TIMEOUT)
        await gateway.revoke(lease, timeout=TIMEOUT)
        found = await gateway.range(b"/leased", timeout=TIMEOUT)
        assert not await gateway.keep_alive(lease, timeout=TIMEOUT)
        await gateway.revoke(lease, timeout=TIMEOUT)
        with pytest.raises(EtcdRefused, match="lease not found"):
            await gateway.transact(Transaction([], [put(b"/leased", b"1", lease)]), timeout=TIMEOUT)

    assert found.found == ()


async def test_a_watch_sees_all_changes_in_order(etcd: Etcd) -> None:
    """From the revision that it names, including deletions; those of one transaction together."""
    seen: list[Event] = []
    async with client(etcd.settings) as gateway:
        first = await gateway.transact(Transaction([], [put(b"/w/a", b"1"), put(b"/w/b", b"2")]), timeout=TIMEOUT)
        async with meanwhile(events_of(gateway, first.revision, seen)):
            second = await gateway.transact(Transaction([], [delete(b"/w/a")]), timeout=TIMEOUT)
            await eventually(lambda: len(seen) >= 3)

    assert seen == [
        Event(b"/w/a", b"1", first.revision),
        Event(b"/w/b", b"2", first.revision),
        Event(b"/w/a", None, second.revision),
    ]


async def test_a_refusal_says_what_etcd_says(etcd: Etcd) -> None:
    async with client(etcd.settings) as gateway:
        with pytest.raises(EtcdRefused, match="duplicate key"):
            await gateway.transact(Transaction([], [put(b"/x", b"1"), put(b"/x", b"2")]), timeout=TIMEOUT)


async def test_nobody_there_is_told_in_time() -> None:
    port = free_port()
    began = time.monotonic()
    async with client(EtcdSettings(endpoints=(f"http://127.0.0.1:{port}",))) as gateway:
        with pytest.raises(EtcdUnreachable, match=rf"127\.0\.0\.1:{port}"):
            await gateway.range(b"/x", timeout=0.5)

    assert time.monotonic() - began < 2 * PATIENCE


async def test_a_member_that_is_gone_is_passed_over(etcd: Etcd) -> None:
    endpoints = (f"http://127.0.0.1:{free_port()}", *etcd.settings.endpoints)
    async with client(EtcdSettings(endpoints=endpoints)) as gateway:
        await gateway.range(b"/x", timeout=TIMEOUT)


async def test_a_silent_member_costs_a_second_once(etcd: Etcd) -> None:
    """The next request goes to the one that has answered."""
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        relay.is_silent = True
        async with client(EtcdSettings(endpoints=(relay.url, *etcd.settings.endpoints))) as gateway:
            began = time.monotonic()
            await gateway.range(b"/x", timeout=TIMEOUT)
            first = time.monotonic() - began
            later = []
            for _ in range(3):
                asked = time.monotonic()
                await gateway.range(b"/x", timeout=TIMEOUT)
                later.append(time.monotonic() - asked)

    assert first > 0.9
    assert min(later) < 0.9


async def test_a_watch_ends_when_its_member_fails_another_request(etcd: Etcd) -> None:
    """A frozen member sends nothing, which looks like an etcd where nothing changes."""
    async with (
        Relay(urlsplit(etcd.members[0].url).port or 0) as relay,
        client(EtcdSettings(endpoints=(relay.url, *etcd.settings.endpoints))) as gateway,
    ):
        start = (await gateway.range(b"/x", timeout=TIMEOUT)).revision
        watch = gateway.watch(b"/", b"0", start + 1)
        await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
        await within(TIMEOUT, anext(watch))
        relay.is_silent = True
        await gateway.range(b"/x", timeout=TIMEOUT)
        with pytest.raises(EtcdUnreachable):
            await within(TIMEOUT, anext(watch))


async def test_a_cut_watch_ends(etcd: Etcd) -> None:
    async with (
        Relay(urlsplit(etcd.members[0].url).port or 0) as relay,
        client(EtcdSettings(endpoints=(relay.url,))) as gateway,
    ):
        done = await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
        watch = gateway.watch(b"/", b"0", done.revision)
        await within(TIMEOUT, anext(watch))
        relay.cut()
        with pytest.raises(EtcdUnreachable):
            await within(TIMEOUT, anext(watch))


async def test_a_watch_that_fails_while_it_is_cancelled_leaves_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the connection times out at that moment; asyncio would log that nobody has retrieved it."""
    asked = asyncio.Event()

    async def lines(*_: object) -> AsyncIterator[bytes]:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise _NoAnswer("timed out") from None
        yield b""

    async with client(EtcdSettings(endpoints=(f"http://127.0.0.1:{free_port()}",))) as gateway:
        monkeypatch.setattr(gateway, "_lines", lines)
        async with meanwhile(events_of(gateway, 1, [])):
            await within(TIMEOUT, asked.wait())
    gc.collect()


async def test_a_lost_answer_is_asked_for_again(etcd: Etcd) -> None:
    """So the transaction is carried out twice, and its comparison tells."""
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        relay.loses_answers = True
        async with client(EtcdSettings(endpoints=(relay.url, *etcd.settings.endpoints))) as gateway:
            outcome = await gateway.transact(
                Transaction([is_created_at(b"/lost", 0)], [put(b"/lost", b"1")], [get(b"/lost")]), timeout=TIMEOUT
            )

    assert relay.answered
    assert not outcome.succeeded
    assert outcome.ranges[0].found[0].value == b"1"


async def test_what_is_not_etcd_is_told_from_it(etcd: Etcd) -> None:
    """As is an etcd that has its gateway turned off, which answers 404."""
    async with client(etcd.settings) as gateway:
        with pytest.raises(EtcdRefused, match="enable-grpc-gateway"):
            await gateway._ask("no/such", {}, TIMEOUT)


async def test_after_close_nothing_is_asked(etcd: Etcd) -> None:
    gateway = EtcdGateway(etcd.settings)
    await gateway.range(b"/x", timeout=TIMEOUT)
    await gateway.close()
    await gateway.close()
    with pytest.raises(EtcdUnreachable, match="closed"):
        await gateway.range(b"/x", timeout=TIMEOUT)


# Members that fail.


async def test_the_death_of_the_leader_costs_seconds(tmp_path: Path) -> None:
    """A transaction is carried out all the same, and a watch on another member goes on or ends; it does not go silent."""
    async with running_etcd(tmp_path, 3) as etcd, client(etcd.settings) as gateway:
        await gateway.transact(Transaction([], [put(b"/x", b"0")]), timeout=TIMEOUT)
        for member in etcd.members:
            member.kill()
            await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
            etcd.restart(member)
            await etcd.ready()


async def test_without_a_quorum_it_waits_for_one(tmp_path: Path) -> None:
    """A request that comes while the majority is gone is answered when that is back; a watch ends."""
    async with running_etcd(tmp_path, 3) as etcd, client(etcd.settings) as gateway:
        start = (await gateway.range(b"/x", timeout=TIMEOUT)).revision
        for member in etcd.members[1:]:
            member.kill()
        with pytest.raises(EtcdUnreachable):
            await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=2)
        with pytest.raises(EtcdUnreachable):
            await within(TIMEOUT, events_of(gateway, start + 1, []))
        for member in etcd.members[1:]:
            etcd.restart(member)
        await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=20 * PATIENCE)


async def test_a_watch_ends_when_its_member_loses_the_leader(tmp_path: Path) -> None:
    """Even if nothing else is asked. etcd itself would keep it open, and silent."""
    async with running_etcd(tmp_path, 3) as etcd, client(EtcdSettings(endpoints=(etcd.members[0].url,))) as gateway:
        done = await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
        watch = gateway.watch(b"/", b"0", done.revision)
        await within(TIMEOUT, anext(watch))
        for member in etcd.members[1:]:
            member.kill()
        with pytest.raises(EtcdUnreachable):
            await within(TIMEOUT, anext(watch))


async def test_a_frozen_member_costs_a_second(tmp_path: Path) -> None:
    async with running_etcd(tmp_path, 3) as etcd, client(etcd.settings) as gateway:
        await gateway.range(b"/x", timeout=TIMEOUT)
        with etcd.members[0].frozen():
            await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)


# Users.


def with_users(etcd: Etcd) -> EtcdSettings:
    """Turn on authentication, and return how its root user reaches etcd."""
    etcd.control("user", "add", "root:secret-word")
    etcd.control("user", "grant-role", "root", "root")
    etcd.control("auth", "enable")
    return dataclasses.replace(etcd.settings, username="root", password="secret-word")


async def test_a_user_logs_in_once_and_again_when_the_token_was_revoked(tmp_path: Path) -> None:
    """A token is kept, until etcd does not know it any more: here, because the user was given a password."""
    seen: list[Event] = []
    async with running_etcd(tmp_path) as etcd, client(with_users(etcd)) as gateway:
        first = await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
        token = gateway._token
        await gateway.range(b"/x", timeout=TIMEOUT)
        assert gateway._token == token

        _revoke_tokens(etcd)
        await gateway.range(b"/x", timeout=TIMEOUT)
        assert gateway._token != token

        _revoke_tokens(etcd)
        async with meanwhile(events_of(gateway, first.revision, seen)):
            await eventually(lambda: seen)


def _revoke_tokens(etcd: Etcd) -> None:
    """Set the same password again."""
    etcd.control(
        "user", "passwd", "root", "--interactive=false", options=["--user", "root:secret-word"], given="secret-word\n"
    )


@pytest.mark.parametrize("watches", [False, True])
async def test_an_expired_token_is_replaced(tmp_path: Path, watches: bool) -> None:
    """A new watch with one is answered "permission denied"."""
    seen: list[Event] = []
    async with running_etcd(tmp_path, options=["--auth-token-ttl", "1"]) as etcd, client(with_users(etcd)) as gateway:
        first = await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
        token = gateway._token
        # Asking whether it has expired would extend its life. etcd looks once a second.
        expires = time.monotonic() + 3
        await eventually(lambda: time.monotonic() > expires)
        if watches:
            async with meanwhile(events_of(gateway, first.revision, seen)):
                await eventually(lambda: seen)
        else:
            await gateway.range(b"/x", timeout=TIMEOUT)
        assert gateway._token != token


async def test_a_wrong_password_is_refused_and_shown_nowhere(tmp_path: Path) -> None:
    async with running_etcd(tmp_path) as etcd:
        settings = dataclasses.replace(with_users(etcd), password="wrong-word")
        async with client(settings) as gateway:
            with pytest.raises(EtcdRefused, match="authentication failed") as caught:
                await gateway.range(b"/x", timeout=TIMEOUT)

    assert "wrong-word" not in str(caught.value) + repr(settings)


async def test_a_user_may_only_do_what_the_role_allows(tmp_path: Path) -> None:
    """That is told at once, and not taken for a token that has expired."""
    async with running_etcd(tmp_path) as etcd:
        etcd.control("user", "add", "small:word")
        etcd.control("role", "add", "small")
        etcd.control("role", "grant-permission", "small", "read", "--prefix=true", "/small/")
        etcd.control("user", "grant-role", "small", "small")
        settings = dataclasses.replace(with_users(etcd), username="small", password="word")
        async with client(settings) as gateway:
            await gateway.range(b"/small/x", timeout=TIMEOUT)
            with pytest.raises(EtcdRefused, match="permission denied") as caught:
                await gateway.transact(Transaction([], [put(b"/small/x", b"1")]), timeout=TIMEOUT)
            assert caught.value.is_denied
            with pytest.raises(EtcdRefused, match="permission denied"):
                await within(TIMEOUT, events_of(gateway, 1, []))


async def test_a_user_where_there_are_none_is_told(etcd: Etcd) -> None:
    async with client(dataclasses.replace(etcd.settings, username="root", password="word")) as gateway:
        with pytest.raises(EtcdRefused, match="authentication is not enabled"):
            await gateway.range(b"/x", timeout=TIMEOUT)


# Certificates.


async def test_both_sides_show_certificates(tmp_path: Path) -> None:
    """With mutual TLS; without the client's certificate, or with another authority, nothing is read."""
    ours, theirs, others = (make_certificate(tmp_path, name) for name in ("etcd", "hub", "others"))
    trusted = _bundle(tmp_path, ours, theirs)
    tls = {"cert-file": ours.cert, "key-file": ours.key, "trusted-ca-file": trusted}
    async with running_etcd(tmp_path, tls=tls) as etcd:
        settings = dataclasses.replace(etcd.settings, ca=ours.cert, cert=theirs.cert, key=theirs.key)
        await etcd.ready(settings)
        async with client(settings) as gateway:
            await gateway.transact(Transaction([], [put(b"/x", b"1")]), timeout=TIMEOUT)
        async with client(dataclasses.replace(settings, cert=None, key=None)) as gateway:
            with pytest.raises(EtcdUnreachable):
                await gateway.range(b"/x", timeout=1)
        async with client(dataclasses.replace(settings, ca=others.cert)) as gateway:
            with pytest.raises(EtcdUnreachable, match=r"(?i)certificate"):
                await gateway.range(b"/x", timeout=1)


def _bundle(folder: Path, *pairs: Pair) -> Path:
    path = folder / "bundle.crt"
    path.write_text("".join(pair.cert.read_text() for pair in pairs))
    return path


async def test_a_renewed_certificate_is_used(tmp_path: Path) -> None:
    """Without a restart: when etcd does not answer, the files are read again."""
    ours, theirs, expired = (make_certificate(tmp_path, name) for name in ("etcd", "hub", "expired"))
    tls = {"cert-file": ours.cert, "key-file": ours.key, "trusted-ca-file": _bundle(tmp_path, ours, theirs)}
    async with running_etcd(tmp_path, tls=tls) as etcd:
        trusted = dataclasses.replace(etcd.settings, ca=ours.cert, cert=theirs.cert, key=theirs.key)
        await etcd.ready(trusted)
        async with client(dataclasses.replace(trusted, cert=expired.cert, key=expired.key)) as gateway:
            with pytest.raises(EtcdUnreachable):
                await gateway.range(b"/x", timeout=1)
            expired.cert.write_bytes(theirs.cert.read_bytes())
            expired.key.write_bytes(theirs.key.read_bytes())
            await gateway.range(b"/x", timeout=10 * PATIENCE)


# asyncio of Python 3.10 takes a TLS connection that the other side has closed for open.
@pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
async def test_certificates_that_do_not_fit_each_other_yet_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a pair are replaced one after the other, and etcd may not answer in between."""
    monkeypatch.setattr(etcd_gateway, "_CERTIFICATES_SECONDS", 0)
    ours, theirs, renewed = (make_certificate(tmp_path, name) for name in ("etcd", "hub", "renewed"))
    tls = {"cert-file": ours.cert, "key-file": ours.key, "trusted-ca-file": _bundle(tmp_path, ours, theirs, renewed)}
    async with running_etcd(tmp_path, tls=tls) as etcd:
        settings = dataclasses.replace(etcd.settings, ca=ours.cert, cert=theirs.cert, key=theirs.key)
        await etcd.ready(settings)
        async with client(settings) as gateway:
            await gateway.range(b"/x", timeout=TIMEOUT)
            etcd.kill()
            theirs.cert.write_bytes(renewed.cert.read_bytes())
            with pytest.raises(EtcdUnreachable):
                await gateway.range(b"/x", timeout=1)
            etcd.restart(etcd.members[0])
            await gateway.range(b"/x", timeout=10 * PATIENCE)
            theirs.key.write_bytes(renewed.key.read_bytes())
            await gateway.range(b"/x", timeout=TIMEOUT)
    gc.collect()  # here, where its warning is ignored, not in whatever test comes next


async def test_a_name_is_looked_up_while_the_hub_looks_up_others(etcd: Etcd) -> None:
    """That may take all threads of asyncio for a while."""
    loop, done = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    slow = loop.run_in_executor(None, done.wait, 20 * PATIENCE)
    async with client(EtcdSettings(endpoints=(etcd.members[0].url.replace("127.0.0.1", "localhost"),))) as gateway:
        await gateway.range(b"/x", timeout=TIMEOUT)
    assert not slow.done()
    done.set()
    await slow


async def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.crt"
    async with client(EtcdSettings(endpoints=("https://127.0.0.1:1",), ca=missing)) as gateway:
        with pytest.raises(ConfigurationError, match=r"missing\.crt"):
            await gateway.range(b"/x", timeout=1)


# Members as an admin names them.


def test_a_member_without_a_scheme_is_asked_over_https() -> None:
    assert endpoints_of(["etcd1", "http://10.0.0.1:1", "https://[::1]/"]) == (
        "https://etcd1:2379",
        "http://10.0.0.1:1",
        "https://[::1]:2379",
    )


@pytest.mark.parametrize(
    "text",
    ["ftp://etcd1", "https://", "https://etcd1/path", "https://a:b@etcd1", "https://etcd1:x", "https://[", "h?q"],
)
def test_what_is_not_a_member_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="etcd_endpoints"):
        endpoints_of([text])


@pytest.mark.parametrize("text", ["https://hub:word@etcd1", "hub:word@etcd1:2379", "https://hub:word@["])
def test_a_password_in_what_is_not_a_member_is_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"etcd1|\[") as caught:
        endpoints_of([text])
    assert "word" not in str(caught.value)


def test_no_members_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="etcd_endpoints is empty"):
        endpoints_of([])
