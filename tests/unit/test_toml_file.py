"""TomlFileStore: how it deals with the files that it finds. Its contract is in test_store_contract.py."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from support.inotify import Changes
from support.store_contract import routes_of, table_of
from support.stores import toml_store
from support.waiting import PATIENCE

from traefik_toml_proxy.errors import CommitFailed, ConfigurationError, StoreError, StoreTooNew
from traefik_toml_proxy.files import AtomicFile, KeptFiles
from traefik_toml_proxy.locks import FolderLock
from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.stores import toml_file
from traefik_toml_proxy.stores.toml_document import TomlRenderer, read_snapshot
from traefik_toml_proxy.stores.toml_file import TomlFileStore
from traefik_toml_proxy.traefik.dynamic import DynamicSettings
from traefik_toml_proxy.traefik.names import Names

OURS = b"[jupyterhub]\nformat = 2\nrevision = 1\ncount = 1\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the file, in an existing folder."""
    return tmp_path / "dynamic.toml"


async def opened(path: Path) -> tuple[TomlFileStore, Snapshot]:
    store = toml_store(path)
    return store, await store.open()


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_missing_folders_are_created_private(tmp_path: Path) -> None:
    """They are 0700, whatever the umask."""
    before = os.umask(0)
    store, _ = await opened(tmp_path / "a" / "b" / "dynamic.toml")
    await store.commit(Snapshot(1, table_of("ada")))
    await store.close()
    os.umask(before)

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a" / "b", tmp_path / "a/b/dynamic.toml")]
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize(
    ("watched", "file", "touched"),
    [
        (".", "r.toml", None),
        (".", "one/r.toml", "one"),
        (".", "one/two/r.toml", "one"),
        ("one", "one/two/r.toml", "two"),
    ],
)
async def test_a_folder_inside_the_one_that_is_watched_is_touched(
    tmp_path: Path, watched: str, file: str, touched: str | None
) -> None:
    """It is the folder that is an entry of the watched one, so that Traefik gets an event at each commit, and only one."""
    store = toml_store(tmp_path / file, watched=tmp_path / watched)
    await store.open()
    with Changes(tmp_path / watched) as changes:
        await store.commit(Snapshot(1, table_of("ada")))
        heard = changes.heard()
    await store.close()

    assert heard == ([f"attributes changed {touched}"] if touched else ["moved to r.toml"])


async def test_a_folder_that_cannot_be_touched_is_noticed_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later, a failure would say that the file has not been replaced, although it has."""
    store = toml_store(path, watched=path.parent.parent)
    denied = mock.Mock(side_effect=PermissionError(errno.EPERM, "Operation not permitted"))
    monkeypatch.setattr(os, "utime", denied)

    with pytest.raises(StoreError, match="Operation not permitted"):
        await store.open()
    assert not path.exists()
    await store.close()

    monkeypatch.undo()
    await store.open()
    monkeypatch.setattr(os, "utime", denied)
    await store.commit(Snapshot(1, table_of("ada")))
    await store.close()
    assert path.exists()


async def test_a_file_outside_the_folder_that_is_watched_is_refused(tmp_path: Path) -> None:
    """Traefik would not load it. The error names both."""
    watched, path = tmp_path / "watched", tmp_path / "watched-too" / "r.toml"

    with pytest.raises(ConfigurationError) as failure:
        await toml_store(path, watched=watched).open()

    assert str(path) in str(failure.value)
    assert f"{watched}, the folder that watched_folder names" in str(failure.value)


async def test_an_empty_file_has_no_routes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An empty file that the admin has made for Traefik is used without any warning."""
    path.touch()
    store, snapshot = await opened(path)
    await store.close()

    assert (snapshot.revision, len(snapshot.table)) == (0, 0)
    assert names_in(path.parent) == ["dynamic.toml", "dynamic.toml.tmp"]
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        b"this is = not TOML =",
        b"\xff\xfe\x00",
        b"\0" * 4096,
        b"[http.routers.mine]\nrule = 'PathPrefix(`/`)'\n",
        b"[jupyterhub]\nformat = 0\nrevision = 1\n",
        b"[jupyterhub]\nformat = 2\nrevision = -1\n",
        b"[jupyterhub]\nformat = 2\nrevision = true\n",
        b"[jupyterhub]\nformat = 2\n",
        b"jupyterhub = 1\n",
        OURS + b"[jupyterhub.routes.r]\nroutespec = '/'\n",
        OURS + b"""[jupyterhub.routes]\nr = '{"routespec":"/x/","target":"ftp://h","data":{}}'\n\n[x]\n""",
        OURS + b"""[jupyterhub.routes]\nr = '{"routespec":"/x/","target":"http://h","data":{'\n\n[x]\n""",
        OURS + b"routes = []\n",
    ],
    ids=[
        "not TOML",
        "not UTF-8",
        "zeros",
        "somebody else's",
        "another format",
        "negative revision",
        "a revision that is no number",
        "no revision",
        "no table",
        "an incomplete route",
        "a route that is refused",
        "data that is not JSON",
        "routes that are none",
    ],
)
async def test_a_file_that_is_not_ours_is_set_aside(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept, byte for byte, under a name that Traefik does not load, and the log says so."""
    path.write_bytes(content)
    store, snapshot = await opened(path)
    await store.commit(Snapshot(snapshot.revision + 1, table_of("ada")))
    await store.close()
    (aside,) = path.parent.glob("dynamic.toml.broken-*")

    assert (snapshot.revision, len(snapshot.table)) == (0, 0)
    assert aside.read_bytes() == content
    assert aside.suffix != ".toml"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    assert str(aside) in caplog.text


async def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    """The error says what to do, the file is there as it was, and another Hub could use it."""
    content = b"# Written by traefik_toml_proxy 7.0.\n\n[jupyterhub]\nformat = 9\nrevision = 1\n"
    path.write_bytes(content)
    store = toml_store(path)
    with pytest.raises(StoreTooNew, match=r"traefik_toml_proxy 7\.0.*format is 9.*up to 2.*Nothing was changed"):
        await store.open()
    await store.close()

    assert path.read_bytes() == content
    assert names_in(path.parent) == ["dynamic.toml", "dynamic.toml.tmp"]


async def test_a_file_that_was_set_aside_is_never_overwritten(path: Path) -> None:
    """Two broken files within a second get two names."""
    for content in (b"one =", b"two =", b"three ="):
        path.write_bytes(content)
        store, _ = await opened(path)
        await store.close()

    assert {aside.read_bytes() for aside in path.parent.glob("dynamic.toml.broken-*")} == {
        b"one =",
        b"two =",
        b"three =",
    }


async def test_a_truncated_file_is_read_completely_or_set_aside(path: Path) -> None:
    """Wherever it is cut off, either every route comes back or the file is set aside."""
    store, _ = await opened(path)
    await store.commit(Snapshot(3, table_of("ada", "bob", "cleo")))
    await store.close()
    whole = path.read_text()
    there = set(table_of("ada", "bob", "cleo"))
    for length in range(1, len(whole), 7):
        path.write_text(whole[:length])
        store, snapshot = await opened(path)
        await store.close()
        asides = list(path.parent.glob("dynamic.toml.broken-*"))
        assert routes_of(snapshot) == (set() if asides else there)
        for file in (path, *asides):
            file.unlink(missing_ok=True)


async def test_a_folder_in_its_place_is_an_error(path: Path) -> None:
    """The error says so, and the folder is left alone."""
    path.mkdir()
    store = toml_store(path)
    with pytest.raises(StoreError, match="Is a directory") as caught:
        await store.open()
    await store.close()

    assert str(path) in str(caught.value)
    assert "dynamic_config_file" in str(caught.value)
    assert path.is_dir()


def no_folder() -> mock._patch[mock.Mock]:
    return mock.patch.object(Path, "mkdir", side_effect=PermissionError(errno.EACCES, "Permission denied"))


def no_lock() -> mock._patch[mock.Mock]:
    return mock.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available"))


def no_reading() -> mock._patch[mock.Mock]:
    return mock.patch.object(Path, "read_text", side_effect=PermissionError(errno.EACCES, "Permission denied"))


def no_renaming() -> mock._patch[mock.Mock]:
    return mock.patch.object(Path, "rename", side_effect=PermissionError(errno.EACCES, "Permission denied"))


@pytest.mark.parametrize("trouble", [no_folder, no_lock, no_reading, no_renaming])
async def test_a_file_that_cannot_be_used_is_an_error_that_says_what_to_do(
    path: Path, trouble: Callable[[], mock._patch[mock.Mock]]
) -> None:
    """It has the operating system's message, the file and the traits; the file is unchanged and not locked."""
    path.write_bytes(b"broken =")
    store = toml_store(path)
    with trouble(), pytest.raises(StoreError, match=r"Permission denied|No locks available") as caught:
        await store.open()
    await store.close()
    content = path.read_bytes()
    another, _ = await opened(path)
    await another.close()

    assert content == b"broken ="
    for part in (str(path), "c.TraefikTomlProxy.dynamic_config_file", "c.TraefikProxy.state_dir"):
        assert part in str(caught.value)


async def test_a_path_that_leads_through_a_file_is_an_error(tmp_path: Path) -> None:
    """A file is where a folder should be."""
    (tmp_path / "file").touch()
    store = toml_store(tmp_path / "file" / "dynamic.toml")
    with pytest.raises(StoreError, match="Cannot keep the routes"):
        await store.open()
    await store.close()


async def test_a_symbolic_link_is_followed_and_stays(tmp_path: Path) -> None:
    """The file that the link points to is replaced; the link is the admin's."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "dynamic.toml"
    link.symlink_to(tmp_path / "real" / "routes.toml")
    store, _ = await opened(link)
    await store.commit(Snapshot(1, table_of("ada")))
    await store.close()
    snapshot = read_snapshot((tmp_path / "real" / "routes.toml").read_text())

    assert link.is_symlink()
    assert snapshot is not None
    assert routes_of(snapshot) == set(table_of("ada"))
    assert store.location == str(tmp_path / "real" / "routes.toml")


async def test_two_names_of_one_file_have_one_lock(tmp_path: Path) -> None:
    """The file is locked for another process that uses a link, too."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    first, _ = await opened(tmp_path / "folder" / "dynamic.toml")
    second = toml_store(tmp_path / "link" / "dynamic.toml")
    with pytest.raises(StoreError, match="already used by another process"):
        await second.open()
    await first.close()


async def test_a_commit_is_one_event_in_the_watched_folder(path: Path) -> None:
    """Only the file itself changes in the folder."""
    store, _ = await opened(path)
    await store.commit(Snapshot(1, RouteTable()))
    with Changes(path.parent) as changes:
        await store.commit(Snapshot(2, table_of("ada")))
        heard = changes.heard()
    await store.close()

    assert heard == ["moved to dynamic.toml"]
    assert names_in(path.parent) == ["dynamic.toml", "dynamic.toml.tmp"]


async def test_the_file_and_its_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """With umask 0, a commit opens neither the file nor its folder nor the folder for new versions to others."""
    before = os.umask(0)
    store, _ = await opened(tmp_path / "state" / "dynamic.toml")
    await store.commit(Snapshot(1, table_of("ada")))
    await store.commit(Snapshot(2, table_of("bob")))
    await store.close()
    os.umask(before)

    folder = tmp_path / "state"
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (folder, *folder.rglob("*"))}
    assert modes == {"state": 0o700, "dynamic.toml": 0o600, "dynamic.toml.tmp": 0o700, "lock": 0o600}


@pytest.mark.parametrize(
    ("routespecs", "in_a_thread"),
    [
        (["/user/ada/"], False),
        ([f"/user/{number}/" for number in range(50)], False),
        ([f"/user/{number}/" for number in range(51)], True),
        ([f"/user/{'@' * 10_000}/"], True),
        ([f"/user/{number}{'x' * 200}/" for number in range(40)], True),
    ],
    ids=["one", "some", "many", "one long name", "long names"],
)
async def test_long_text_is_rendered_in_a_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch, routespecs: list[str], in_a_thread: bool
) -> None:
    """A name of 10,000 characters takes longer than others may be kept waiting; a little text less than the way there."""
    renderer = TomlRenderer(DynamicSettings("http", "/secret"), writer="test")
    seen: list[threading.Thread] = []
    render = renderer.render

    def noting(snapshot: Snapshot) -> bytes:
        seen.append(threading.current_thread())
        return render(snapshot)

    monkeypatch.setattr(renderer, "render", noting)
    store = TomlFileStore(path, renderer, mode=0o600, log=logging.getLogger("hub"))
    await store.open()
    table = RouteTable(Route.checked(routespec, "http://127.0.0.1:1", {}) for routespec in routespecs)
    await store.commit(Snapshot(1, table))
    await store.close()

    assert [thread is not threading.main_thread() for thread in seen] == [in_a_thread]


async def test_a_cancelled_open_leaves_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that takes the lock is awaited, so the lock can be released."""
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()
    real_lock = AtomicFile.lock

    def slow_lock(file: AtomicFile) -> None:
        begun.set()
        go.wait(PATIENCE)
        real_lock(file)
        ended.set()

    store = toml_store(path)
    with monkeypatch.context() as patch:
        patch.setattr(AtomicFile, "lock", slow_lock)
        opening = asyncio.create_task(store.open())
        await asyncio.to_thread(begun.wait, PATIENCE)
        opening.cancel()
        asyncio.get_running_loop().call_later(0.1, go.set)
        await asyncio.wait([opening])
        await store.close()
        await asyncio.to_thread(ended.wait, PATIENCE)
    another = toml_store(path)
    await another.open()
    await another.close()

    assert opening.cancelled()


async def test_a_store_that_is_not_open_refuses_commits(path: Path) -> None:
    """A commit without the lock is an error."""
    with pytest.raises(StoreError, match="is not open"):
        await toml_store(path).commit(Snapshot(1, RouteTable()))

    assert not path.exists()


async def test_files_that_the_text_names_are_there_before_it(path: Path) -> None:
    """Each commit writes those that others have removed. If that fails, the commit fails, and the old text stays."""
    needs = KeptFiles(path.with_name("certificates"))
    needs.keep({"a.pem": b"a"})
    renderer = TomlRenderer(DynamicSettings(entry_point="http", secret_path="/secret"), writer="a test")
    store = TomlFileStore(path, renderer, mode=0o600, log=logging.getLogger("hub"), needs=needs)
    await store.open()
    await store.commit(Snapshot(1, table_of("ada")))
    file = needs.folder / "a.pem"
    assert (file.read_bytes(), await store.damage()) == (b"a", None)

    file.unlink()
    assert await store.damage() == f"needs {file}, which was deleted"
    await store.commit(Snapshot(2, table_of("ada")))
    assert (file.read_bytes(), await store.damage()) == (b"a", None)

    file.unlink()
    needs.folder.rmdir()
    needs.folder.write_text("in the way")
    before = path.read_bytes()
    with pytest.raises(CommitFailed, match=r"write of .*a\.pem, which it needs, failed \(File exists\)"):
        await store.commit(Snapshot(3, table_of("ada", "grace")))

    assert path.read_bytes() == before
    await store.close()


async def written(path: Path, namespace: str) -> None:
    """Open the store of a Hub, write its file, and close it."""
    store = toml_store(path, names=Names(namespace))
    try:
        await store.open()
        await store.commit(Snapshot(1, table_of("ada")))
    finally:
        await store.close()


@pytest.mark.parametrize("other", ["copy.toml", "before/r.toml"])
async def test_two_files_with_the_same_names_are_refused(path: Path, other: str) -> None:
    """Whether it is a copy or that of another Hub: users would be sent where the other file says."""
    await written(path, "physics")
    path.with_name("before").mkdir()
    (path.parent / other).write_bytes(path.read_bytes())

    with pytest.raises(StoreError, match=rf"{other} also has the routes of a Hub, .*\(physics\).*delete it"):
        await written(path, "physics")


async def test_files_with_other_names_are_no_trouble(path: Path) -> None:
    """Those of other Hubs, of others, or such as nobody can read; nor is the file itself under a second name."""
    await written(path, "physics")
    await written(path.with_name("chemistry.toml"), "chemistry")
    path.with_name("theirs.toml").write_bytes(b"\xff[http]\n")
    path.with_name("nothing.toml").symlink_to("nowhere")
    path.with_name("same.toml").symlink_to(path)
    path.with_name("folder.toml").mkdir()
    os.mkfifo(path.with_name("pipe.toml"))

    await written(path, "physics")


async def test_without_a_namespace_there_is_only_one_file(path: Path) -> None:
    """A Traefik that the Hub starts watches no others."""
    await written(path, "")
    path.with_name("copy.toml").write_bytes(path.read_bytes())

    await written(path, "")


async def kept_open(path: Path, namespace: str) -> TomlFileStore | None:
    """Open the store of a Hub that starts, and write its file; None if it is refused, since there is another one."""
    store = toml_store(path, names=Names(namespace), watched=path.parent.parent)
    try:
        await store.open()
        await store.commit(Snapshot(1, table_of("ada")))
    except StoreError as error:
        await store.close()
        return None if "also has the routes of a Hub" in str(error) else store
    return store


@pytest.mark.parametrize(("other", "expected"), [("physics", 1), ("chemistry", 2)])
async def test_of_two_hubs_with_the_same_names_one_is_refused(tmp_path: Path, other: str, expected: int) -> None:
    """Also if both start for the first time and at the same moment. Others start, one after the other."""
    for number in range(5):
        files = [tmp_path / f"{number}" / name / "r.toml" for name in ("one", "two")]
        found = await asyncio.gather(kept_open(files[0], "physics"), kept_open(files[1], other))
        stores = [store for store in found if store]
        for store in stores:
            await store.close()

        assert len(stores) == expected


async def test_a_hub_waits_until_the_names_of_another_are_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no longer if that one ends before it has written anything."""
    first, second = toml_store(path, names=Names("a")), toml_store(path.with_name("b.toml"), names=Names("b"))
    await first.open()
    opening = asyncio.create_task(second.open())
    done, _ = await asyncio.wait([opening], timeout=0.2)
    assert not done
    await first.close()
    await asyncio.wait_for(opening, 5 * PATIENCE)

    monkeypatch.setattr(toml_file, "_LONGEST_CLAIM", 0.1)
    third = toml_store(path.with_name("it's.toml"), names=Names("c"))
    with pytest.raises(StoreError, match=rf"has kept {path.parent} locked for 0\.1 s.*fuser -v {path.parent}"):
        await third.open()
    await third.close()
    await second.close()


async def test_a_folder_that_cannot_be_locked_is_looked_at_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems, or when the Hub may not list it."""
    await written(path, "physics")
    path.with_name("copy.toml").write_bytes(path.read_bytes())
    monkeypatch.setattr(FolderLock, "acquire", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))

    await written(path.with_name("chemistry.toml"), "chemistry")
    with pytest.raises(StoreError, match="also has the routes of a Hub"):
        await written(path, "physics")
