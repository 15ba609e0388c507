"""traefik_toml_proxy.files: files that are replaced whole, private files, and locks that name their owner."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from support.disk import STEPS_BEFORE, SYNC_FOLDER, disturbed, failing
from support.inotify import Changes

from traefik_toml_proxy.files import AtomicFile, Fingerprint, LockHeld, ReplaceFailed


@pytest.fixture
def file(tmp_path: Path) -> Iterator[AtomicFile]:
    """A file that is not there yet, locked; unlocked at the end."""
    file = AtomicFile(tmp_path / "some.toml", 0o600)
    file.lock()
    yield file
    file.unlock()


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A process whose umask hides nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestReplacing:
    """The content is the old one or the new one, never a mixture."""

    @pytest.mark.parametrize("data", [b"", b"x", b"two\nlines\n", bytes(range(256)) * 40_000])
    async def test_the_new_content_is_there_whole(self, file: AtomicFile, data: bytes) -> None:
        """Whatever is written is read back."""
        await file.replace(b"old")
        await file.replace(data)

        assert file.path.read_bytes() == data

    async def test_a_reader_keeps_the_version_that_it_opened(self, file: AtomicFile) -> None:
        """A file is never written to in place: who has it open reads the old version to its end."""
        await file.replace(b"old")
        with file.path.open("rb") as reader:
            await file.replace(b"new and longer")
            assert reader.read() == b"old"

    async def test_a_write_that_takes_only_a_part_goes_on(self, file: AtomicFile) -> None:
        """The operating system may take fewer bytes than it was given."""
        real_write, sizes = os.write, []

        def sparing(descriptor: int, data: memoryview) -> int:
            sizes.append(len(data))
            return real_write(descriptor, data[:3])

        with mock.patch("os.write", sparing):
            await file.replace(b"0123456789")

        assert sizes == [10, 7, 4, 1]
        assert file.path.read_bytes() == b"0123456789"

    async def test_the_content_is_on_the_disk_before_its_name(self, file: AtomicFile) -> None:
        """Content, then name, then folder: after a power cut there is no empty file."""
        steps: list[str] = []
        real_fsync, real_replace = os.fsync, Path.replace

        def fsync(descriptor: int) -> None:
            steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name[:4]}")
            real_fsync(descriptor)

        def replace(self: Path, target: Path) -> Path:
            steps.append("rename")
            return real_replace(self, target)

        with mock.patch("os.fsync", fsync), mock.patch.object(Path, "replace", replace):
            await file.replace(b"new")

        assert steps == ["fsync new-", "rename", f"fsync {file.path.parent.name[:4]}"]

    async def test_one_who_watches_the_folder_hears_of_one_thing(self, file: AtomicFile) -> None:
        """A commit is one event in the watched folder, when the new version is complete."""
        await file.replace(b"old")
        with Changes(file.path.parent) as changes:
            await file.replace(b"new")
            heard = changes.heard()

        assert heard == ["moved to some.toml"]

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_one_who_watches_the_folder_hears_nothing_of_a_failure(self, file: AtomicFile, step: str) -> None:
        """A commit that fails is no event in the watched folder."""
        await file.replace(b"old")
        with Changes(file.path.parent) as changes, disturbed(file.path, step, failing(errno.EIO)):
            with pytest.raises(ReplaceFailed):
                await file.replace(b"new")
            heard = changes.heard()

        assert heard == []

    async def test_a_symbolic_link_to_elsewhere_is_replaced_and_not_followed(
        self, file: AtomicFile, tmp_path: Path
    ) -> None:
        """Who can put a link in the file's place cannot make us write where it points."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(b"precious")
        file.path.symlink_to(elsewhere)
        await file.replace(b"new")

        assert (file.path.is_symlink(), file.path.read_bytes(), elsewhere.read_bytes()) == (False, b"new", b"precious")


class TestPermissions:
    """The file and its folder are for those whom the admin named, whatever the umask."""

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
    @pytest.mark.usefixtures("open_umask")
    async def test_the_mode_is_exactly_as_asked(self, tmp_path: Path, mode: int) -> None:
        """An open umask adds nothing."""
        file = AtomicFile(tmp_path / "some.toml", mode)
        await file.replace(b"new")

        assert mode_of(file.path) == mode

    async def test_a_narrow_umask_takes_nothing(self, tmp_path: Path) -> None:
        """A file for a group stays for the group when the umask is 077."""
        before = os.umask(0o077)
        file = AtomicFile(tmp_path / "some.toml", 0o640)
        await file.replace(b"new")
        os.umask(before)

        assert mode_of(file.path) == 0o640

    @pytest.mark.usefixtures("open_umask")
    async def test_the_new_version_is_never_open_to_others(self, file: AtomicFile) -> None:
        """Not even for a moment: it is made with 0600."""
        modes: list[int] = []
        real = os.fchmod

        def fchmod(descriptor: int, mode: int) -> None:
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            real(descriptor, mode)

        with mock.patch("os.fchmod", fchmod):
            await file.replace(b"new")

        assert modes == [0o600]

    @pytest.mark.parametrize(("parent", "expected"), [(0o700, 0o700), (0o750, 0o750), (0o755, 0o755), (0o777, 0o755)])
    @pytest.mark.usefixtures("open_umask")
    async def test_its_folder_is_open_to_whom_the_file_s_folder_is(
        self, tmp_path: Path, parent: int, expected: int
    ) -> None:
        """Who may look into the folder may look into the one for new versions; nobody else may write there."""
        tmp_path.chmod(parent)
        file = AtomicFile(tmp_path / "some.toml", 0o600)
        await file.replace(b"new")
        tmp_path.chmod(0o700)

        assert mode_of(tmp_path / "some.toml.tmp") == expected

    async def test_the_lock_tells_nobody_else(self, file: AtomicFile) -> None:
        """The lock file is for this user alone."""
        assert mode_of(file.path.with_name("some.toml.tmp") / "lock") == 0o600


class TestFailures:
    """A failure at any step leaves everything as it was."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_the_old_content_stays(self, file: AtomicFile, step: str, number: int) -> None:
        """The file is byte for byte the old one, the very same one, and nothing is left beside it."""
        await file.replace(b"old")
        before = Fingerprint.of(file.path.stat())
        with disturbed(file.path, step, failing(number)), pytest.raises(ReplaceFailed) as caught:
            await file.replace(b"new")

        assert file.path.read_bytes() == b"old"
        assert Fingerprint.of(file.path.stat()) == before
        assert [left.name for left in file.path.with_name("some.toml.tmp").iterdir()] == ["lock"]
        assert os.strerror(number) in str(caught.value)
        assert str(file.path) in str(caught.value)

    @pytest.mark.parametrize(
        ("step", "named"),
        [("open", "open"), ("chmod", "open"), ("write", "write"), ("fsync", "fsync"), ("rename", "rename")],
    )
    async def test_the_step_is_named(self, file: AtomicFile, step: str, named: str) -> None:
        """The error says what was being done."""
        with (
            disturbed(file.path, step, failing(errno.EIO)),
            pytest.raises(ReplaceFailed, match=f"Could not {named} ") as error,
        ):
            await file.replace(b"new")

        assert error.value.step == named

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_the_first_content_fails_as_well(self, file: AtomicFile, step: str) -> None:
        """Where there was no file, there is none after a failure."""
        with disturbed(file.path, step, failing(errno.ENOSPC)), pytest.raises(ReplaceFailed):
            await file.replace(b"new")

        assert not file.path.exists()

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_the_next_replacement_works(self, file: AtomicFile, step: str) -> None:
        """One failure is not the next."""
        with disturbed(file.path, step, failing(errno.ENOSPC)), pytest.raises(ReplaceFailed):
            await file.replace(b"one")
        await file.replace(b"two")

        assert file.path.read_bytes() == b"two"

    async def test_a_folder_that_cannot_be_synced_is_no_failure(self, file: AtomicFile) -> None:
        """The new version is in its place: telling the caller that nothing has changed would be wrong."""
        with disturbed(file.path, SYNC_FOLDER, failing(errno.EIO)):
            await file.replace(b"new")

        assert file.path.read_bytes() == b"new"
        assert await asyncio.to_thread(file.damage) is None

    async def test_a_folder_in_its_place_is_a_failure(self, file: AtomicFile) -> None:
        """What cannot be replaced is told, and the folder is left alone."""
        file.path.mkdir()
        with pytest.raises(ReplaceFailed, match="Could not rename"):
            await file.replace(b"new")

        assert file.path.is_dir()

    async def test_its_folder_being_gone_is_a_failure(self, tmp_path: Path) -> None:
        """Somebody has removed the whole folder: that is told, and not put right."""
        file = AtomicFile(tmp_path / "gone" / "some.toml", 0o600)
        with pytest.raises(ReplaceFailed, match="Could not open"):
            await file.replace(b"new")

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_a_fault_of_another_kind_passes_through_and_leaves_nothing(self, file: AtomicFile, step: str) -> None:
        """What is not the operating system's error is not called one; the file is as it was."""

        def fault() -> None:
            raise RuntimeError("a fault of ours")

        await file.replace(b"old")
        with disturbed(file.path, step, fault), pytest.raises(RuntimeError, match="a fault of ours"):
            await file.replace(b"new")

        assert file.path.read_bytes() == b"old"

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_a_cancelled_replacement_is_whole_or_not_there(self, file: AtomicFile, step: str) -> None:
        """Wherever a cancellation comes, the content is old or new, nothing is left behind, and the next one works."""
        await file.replace(b"old" * 1000)
        loop = asyncio.get_running_loop()
        with disturbed(file.path, step, lambda: loop.call_soon_threadsafe(replacing.cancel)):
            replacing = asyncio.ensure_future(file.replace(b"new" * 1000))
            await asyncio.wait([replacing])
        assert [left.name for left in file.path.with_name("some.toml.tmp").iterdir()] == ["lock"]
        assert file.path.read_bytes() in (b"old" * 1000, b"new" * 1000)
        await file.replace(b"next")

        assert file.path.read_bytes() == b"next"

    async def test_the_folder_for_new_versions_is_made_again(self, file: AtomicFile) -> None:
        """Somebody has removed it: the next replacement works."""
        folder = file.path.with_name("some.toml.tmp")
        (folder / "lock").unlink()
        folder.rmdir()
        await file.replace(b"new")

        assert file.path.read_bytes() == b"new"


class TestLock:
    """Only ever one writer."""

    def test_a_second_writer_is_told_who_is_the_first(self, file: AtomicFile) -> None:
        """The error names the process that has it and what to do."""
        with pytest.raises(LockHeld) as caught:
            AtomicFile(file.path, 0o600).lock()

        assert caught.value.owner == f"process {os.getpid()}"
        assert str(file.path) in str(caught.value)

    def test_a_refused_writer_changes_nothing(self, file: AtomicFile) -> None:
        """The first one's half-done work and its name in the lock stay."""
        folder = file.path.with_name("some.toml.tmp")
        (folder / "new-1").write_bytes(b"half")
        other = AtomicFile(file.path, 0o600)
        with pytest.raises(LockHeld):
            other.lock()
        other.unlock()
        with pytest.raises(LockHeld, match=f"process {os.getpid()}"):
            AtomicFile(file.path, 0o600).lock()

        assert (folder / "new-1").read_bytes() == b"half"
        (folder / "new-1").unlink()

    async def test_a_lock_that_somebody_has_removed_is_taken_again(self, file: AtomicFile) -> None:
        """Tidying up its folder lets no second writer in, once the first one has looked at its file or written it."""
        await file.replace(b"old")
        shutil.rmtree(file.path.with_name("some.toml.tmp"))
        assert await asyncio.to_thread(file.damage) is None
        with pytest.raises(LockHeld):
            await asyncio.to_thread(AtomicFile(file.path, 0o600).lock)

        shutil.rmtree(file.path.with_name("some.toml.tmp"))
        await file.replace(b"new")
        with pytest.raises(LockHeld):
            await asyncio.to_thread(AtomicFile(file.path, 0o600).lock)

    async def test_a_lock_that_is_somebody_else_s_by_now_is_respected(self, file: AtomicFile) -> None:
        """Two writers would undo each other's changes for ever; the caller is told who writes now."""
        await file.replace(b"old")
        shutil.rmtree(file.path.with_name("some.toml.tmp"))
        other = AtomicFile(file.path, 0o600)
        await asyncio.to_thread(other.lock)
        await other.replace(b"other")

        assert await asyncio.to_thread(file.damage) is None
        with pytest.raises(LockHeld, match=f"process {os.getpid()}"):
            await file.replace(b"new")

        assert file.path.read_bytes() == b"other"
        other.unlock()

    @pytest.mark.parametrize("whose", ["others may write", "a link", "somebody else's"])
    def test_a_folder_that_is_not_ours_alone_is_not_used(
        self, tmp_path: Path, whose: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who has made it beforehand, where anybody can, could put other routes in the place of ours."""
        folder = tmp_path / "routes.toml.tmp"
        if whose == "a link":
            (tmp_path / "elsewhere").mkdir()
            folder.symlink_to(tmp_path / "elsewhere")
        else:
            folder.mkdir()
            folder.chmod(0o777 if whose == "others may write" else 0o755)
        if whose == "somebody else's":
            monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)

        with pytest.raises(PermissionError, match="remove it") as caught:
            AtomicFile(tmp_path / "routes.toml", 0o600).lock()

        assert caught.value.filename == str(folder)
        assert list(folder.iterdir()) == []

    def test_a_full_disk_does_not_keep_the_lock_from_being_given_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whose it is cannot be written down then; it holds, and is let go of, all the same."""
        first, second = AtomicFile(tmp_path / "some", 0o600), AtomicFile(tmp_path / "some", 0o600)
        with monkeypatch.context() as patch:
            patch.setattr("os.pwrite", mock.Mock(side_effect=OSError(28, "No space left on device")))
            first.lock()
        with pytest.raises(LockHeld, match="it did not say which"):
            second.lock()
        first.unlock()
        second.lock()
        second.unlock()

    def test_the_group_of_the_folder_is_that_of_new_versions(self, tmp_path: Path) -> None:
        """A folder that gives its group to what is made in it (setgid) is how a Traefik of that group reads the file."""
        folder = tmp_path / "shared"
        folder.mkdir()
        folder.chmod(0o2750)
        file = AtomicFile(folder / "routes.toml", 0o640)
        file.lock()
        file.unlock()

        assert stat.S_IMODE((folder / "routes.toml.tmp").stat().st_mode) == 0o2750

    def test_after_unlocking_another_may(self, file: AtomicFile) -> None:
        """A lock is given back, also when it is given back twice."""
        file.unlock()
        file.unlock()
        other = AtomicFile(file.path, 0o600)
        other.lock()
        other.unlock()

    def test_what_an_earlier_writer_left_is_removed(self, file: AtomicFile) -> None:
        """Half-written versions do not pile up."""
        folder = file.path.with_name("some.toml.tmp")
        file.unlock()
        (folder / "new-1").write_bytes(b"half")
        (folder / "new-2").write_bytes(b"")
        file.lock()

        assert [left.name for left in folder.iterdir()] == ["lock"]

    def test_a_longer_name_in_the_lock_is_overwritten_whole(self, file: AtomicFile) -> None:
        """The lock names this process alone, whatever was in it."""
        lock = file.path.with_name("some.toml.tmp") / "lock"
        file.unlock()
        lock.write_text("process 123456789012345 of an earlier time\n")
        file.lock()

        assert lock.read_text() == f"process {os.getpid()}\n"

    def test_a_link_in_the_place_of_the_lock_is_not_followed(self, file: AtomicFile, tmp_path: Path) -> None:
        """The lock cannot be used to have another file emptied."""
        lock = file.path.with_name("some.toml.tmp") / "lock"
        precious = tmp_path / "precious"
        precious.write_text("precious")
        file.unlock()
        lock.unlink()
        lock.symlink_to(precious)
        with pytest.raises(OSError, match="symbolic link"):
            file.lock()

        assert precious.read_text() == "precious"
        lock.unlink()


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def edit_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(1, 1))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"X")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.chmod(0o600)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


def open_to_all(path: Path) -> None:
    path.chmod(0o666)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


class TestDamage:
    """What somebody else did is seen without reading the file."""

    @pytest.mark.parametrize(
        ("harm", "told"),
        [
            (delete, "was deleted"),
            (truncate, "was emptied"),
            (edit_in_place, "was edited or replaced"),
            (append, "was edited or replaced"),
            (replace, "was edited or replaced"),
            (open_to_all, "has other permissions (-rw-rw-rw-)"),
            (make_folder, "was edited or replaced"),
            (make_link, "was edited or replaced"),
        ],
    )
    async def test_it_is_told(self, file: AtomicFile, harm: Callable[[Path], None], told: str) -> None:
        """Each kind has its words for the log."""
        await file.replace(b"content")
        harm(file.path)

        assert await asyncio.to_thread(file.damage) == told

    @pytest.mark.parametrize("harm", [delete, truncate, edit_in_place, append, replace, open_to_all, make_link])
    async def test_the_next_replacement_puts_it_right(self, file: AtomicFile, harm: Callable[[Path], None]) -> None:
        """After it the file is ours again, permissions and all."""
        await file.replace(b"content")
        harm(file.path)
        await file.replace(b"content")

        damage = await asyncio.to_thread(file.damage)

        assert (damage, file.path.read_bytes(), mode_of(file.path)) == (None, b"content", 0o600)

    async def test_reading_is_no_damage(self, file: AtomicFile) -> None:
        """Traefik reads the file at each change."""
        await file.replace(b"content")
        file.path.read_bytes()

        assert await asyncio.to_thread(file.damage) is None

    async def test_a_failed_replacement_is_no_damage(self, file: AtomicFile) -> None:
        """What is there is what we left, so there is nothing to put right."""
        await file.replace(b"content")
        with disturbed(file.path, "rename", failing(errno.EIO)), pytest.raises(ReplaceFailed):
            await file.replace(b"new")

        assert await asyncio.to_thread(file.damage) is None

    async def test_what_cannot_be_looked_at_is_told(self, file: AtomicFile) -> None:
        """An error other than absence is said in its own words."""
        await file.replace(b"content")
        with mock.patch.object(Path, "lstat", side_effect=OSError(errno.EIO, "Input/output error")):
            told = await asyncio.to_thread(file.damage)

        assert told == "cannot be examined (Input/output error)"
