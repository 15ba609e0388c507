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
from support.other_user import GROUP, USER, needs_root

from traefik_toml_proxy.files import AtomicFile, Fingerprint, ReplaceFailed, write_private
from traefik_toml_proxy.locks import LockHeld


@pytest.fixture
def file(tmp_path: Path) -> Iterator[AtomicFile]:
    """A locked file that does not exist yet; unlocked at the end."""
    file = AtomicFile(tmp_path / "some.toml", 0o600)
    file.lock()
    yield file
    file.unlock()


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Set the umask to 0."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestReplacing:
    """The content is the old one or the new one, never a mixture."""

    @pytest.mark.parametrize("data", [b"", b"x", b"two\nlines\n", bytes(range(256)) * 40_000])
    async def test_the_new_content_is_there_whole(self, file: AtomicFile, data: bytes) -> None:
        """What is written is read back."""
        await file.replace(b"old")
        await file.replace(data)

        assert file.path.read_bytes() == data

    async def test_a_reader_keeps_the_version_that_it_opened(self, file: AtomicFile) -> None:
        """A file is never written in place: a reader that has it open reads the old version to its end."""
        await file.replace(b"old")
        with file.path.open("rb") as reader:
            await file.replace(b"new and longer")
            assert reader.read() == b"old"

    async def test_a_partial_write_is_continued(self, file: AtomicFile) -> None:
        """The operating system may write fewer bytes than it was given."""
        real_write, sizes = os.write, []

        def sparing(descriptor: int, data: memoryview) -> int:
            sizes.append(len(data))
            return real_write(descriptor, data[:3])

        with mock.patch("os.write", sparing):
            await file.replace(b"0123456789")

        assert sizes == [10, 7, 4, 1]
        assert file.path.read_bytes() == b"0123456789"

    async def test_the_content_is_synced_before_the_rename_and_the_folder_after_it(self, file: AtomicFile) -> None:
        """In this order, a power cut cannot leave an empty file."""
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

    async def test_a_commit_is_one_event_in_the_watched_folder(self, file: AtomicFile) -> None:
        """The event comes when the new version is complete."""
        await file.replace(b"old")
        with Changes(file.path.parent) as changes:
            await file.replace(b"new")
            heard = changes.heard()

        assert heard == ["moved to some.toml"]

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_a_failed_commit_is_no_event_in_the_watched_folder(self, file: AtomicFile, step: str) -> None:
        """Traefik does not reload for it."""
        await file.replace(b"old")
        with Changes(file.path.parent) as changes, disturbed(file.path, step, failing(errno.EIO)):
            with pytest.raises(ReplaceFailed):
                await file.replace(b"new")
            heard = changes.heard()

        assert heard == []

    async def test_a_symbolic_link_to_elsewhere_is_replaced_and_not_followed(
        self, file: AtomicFile, tmp_path: Path
    ) -> None:
        """Nobody can redirect the write by putting a link in the file's place."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(b"precious")
        file.path.symlink_to(elsewhere)
        await file.replace(b"new")

        assert (file.path.is_symlink(), file.path.read_bytes(), elsewhere.read_bytes()) == (False, b"new", b"precious")


class TestPermissions:
    """The file and its folder have exactly the permissions that they should have, whatever the umask."""

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
    @pytest.mark.usefixtures("open_umask")
    async def test_the_mode_is_exactly_as_asked(self, tmp_path: Path, mode: int) -> None:
        """A umask of 0 adds no permission."""
        file = AtomicFile(tmp_path / "some.toml", mode)
        await file.replace(b"new")

        assert mode_of(file.path) == mode

    async def test_a_narrow_umask_takes_nothing(self, tmp_path: Path) -> None:
        """A file that its group may read stays so when the umask is 077."""
        before = os.umask(0o077)
        file = AtomicFile(tmp_path / "some.toml", 0o640)
        await file.replace(b"new")
        os.umask(before)

        assert mode_of(file.path) == 0o640

    @pytest.mark.usefixtures("open_umask")
    async def test_the_new_version_is_never_open_to_others(self, file: AtomicFile) -> None:
        """It is created with 0600, so not even for a moment."""
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
    async def test_the_folder_for_new_versions_is_as_open_as_the_file_s_folder(
        self, tmp_path: Path, parent: int, expected: int
    ) -> None:
        """The same users may read it, and only the owner may write to it."""
        tmp_path.chmod(parent)
        file = AtomicFile(tmp_path / "some.toml", 0o600)
        await file.replace(b"new")
        tmp_path.chmod(0o700)

        assert mode_of(tmp_path / "some.toml.tmp") == expected

    async def test_the_lock_is_private(self, file: AtomicFile) -> None:
        """Only this user can read the lock file."""
        assert mode_of(file.path.with_name("some.toml.tmp") / "lock") == 0o600


class TestFailures:
    """A failure at any step leaves the file as it was."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_the_old_content_stays(self, file: AtomicFile, step: str, number: int) -> None:
        """It is the very same file, byte for byte, and nothing is left beside it."""
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
        """The error says what failed."""
        with (
            disturbed(file.path, step, failing(errno.EIO)),
            pytest.raises(ReplaceFailed, match=f"Could not {named} ") as error,
        ):
            await file.replace(b"new")

        assert error.value.step == named

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_a_failed_first_write_leaves_no_file(self, file: AtomicFile, step: str) -> None:
        """If there was no file before, there is none afterwards."""
        with disturbed(file.path, step, failing(errno.ENOSPC)), pytest.raises(ReplaceFailed):
            await file.replace(b"new")

        assert not file.path.exists()

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_the_next_replacement_works(self, file: AtomicFile, step: str) -> None:
        """A failure has no effect on the next replacement."""
        with disturbed(file.path, step, failing(errno.ENOSPC)), pytest.raises(ReplaceFailed):
            await file.replace(b"one")
        await file.replace(b"two")

        assert file.path.read_bytes() == b"two"

    async def test_a_folder_that_cannot_be_synced_is_no_failure(self, file: AtomicFile) -> None:
        """The new version is in place, so an error that says nothing has changed would be wrong."""
        with disturbed(file.path, SYNC_FOLDER, failing(errno.EIO)):
            await file.replace(b"new")

        assert file.path.read_bytes() == b"new"
        assert await asyncio.to_thread(file.damage) is None

    async def test_a_folder_in_its_place_is_a_failure(self, file: AtomicFile) -> None:
        """The error says so, and the folder is left alone."""
        file.path.mkdir()
        with pytest.raises(ReplaceFailed, match="Could not rename"):
            await file.replace(b"new")

        assert file.path.is_dir()

    async def test_a_missing_folder_is_a_failure(self, tmp_path: Path) -> None:
        """If somebody has removed the file's folder, it is not created again."""
        file = AtomicFile(tmp_path / "gone" / "some.toml", 0o600)
        with pytest.raises(ReplaceFailed, match="Could not open"):
            await file.replace(b"new")

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_any_other_exception_is_raised_unchanged(self, file: AtomicFile, step: str) -> None:
        """Only errors of the operating system become CommitFailed; the file is as it was in any case."""

        def fault() -> None:
            raise RuntimeError("a fault of ours")

        await file.replace(b"old")
        with disturbed(file.path, step, fault), pytest.raises(RuntimeError, match="a fault of ours"):
            await file.replace(b"new")

        assert file.path.read_bytes() == b"old"

    @pytest.mark.parametrize("step", STEPS_BEFORE)
    async def test_a_cancelled_replacement_is_whole_or_not_there(self, file: AtomicFile, step: str) -> None:
        """Whenever it is cancelled, the content is old or new, nothing is left behind, and the next replacement works."""
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
        """If somebody has removed it, the next replacement works."""
        folder = file.path.with_name("some.toml.tmp")
        (folder / "lock").unlink()
        folder.rmdir()
        await file.replace(b"new")

        assert file.path.read_bytes() == b"new"


class TestLock:
    """A file has one writer at a time."""

    def test_a_second_writer_is_refused_and_told_which_process_is_the_first(self, file: AtomicFile) -> None:
        """The error names the file and the process."""
        with pytest.raises(LockHeld) as caught:
            AtomicFile(file.path, 0o600).lock()

        assert caught.value.owner == f"process {os.getpid()}"
        assert str(file.path) in str(caught.value)

    def test_a_refused_writer_changes_nothing(self, file: AtomicFile) -> None:
        """The unfinished files of the first one stay, and its name in the lock."""
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

    async def test_a_lock_file_that_was_removed_is_created_again(self, file: AtomicFile) -> None:
        """Once the first writer has checked or replaced its file, a second one is refused again."""
        await file.replace(b"old")
        shutil.rmtree(file.path.with_name("some.toml.tmp"))
        assert await asyncio.to_thread(file.damage) is None
        with pytest.raises(LockHeld):
            await asyncio.to_thread(AtomicFile(file.path, 0o600).lock)

        shutil.rmtree(file.path.with_name("some.toml.tmp"))
        await file.replace(b"new")
        with pytest.raises(LockHeld):
            await asyncio.to_thread(AtomicFile(file.path, 0o600).lock)

    async def test_a_lock_that_another_process_has_taken_meanwhile_is_respected(self, file: AtomicFile) -> None:
        """Two writers would keep undoing each other's changes; the error names the new owner."""
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
    def test_a_folder_that_others_could_write_to_is_refused(
        self, tmp_path: Path, whose: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a folder where anyone can create it first, others could replace our routes."""
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

    def test_a_full_disk_does_not_prevent_locking_and_unlocking(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The owner's name cannot be written then, but the lock holds and can be released."""
        first, second = AtomicFile(tmp_path / "some", 0o600), AtomicFile(tmp_path / "some", 0o600)
        with monkeypatch.context() as patch:
            patch.setattr("os.pwrite", mock.Mock(side_effect=OSError(28, "No space left on device")))
            first.lock()
        with pytest.raises(LockHeld, match="an unknown process"):
            second.lock()
        first.unlock()
        second.lock()
        second.unlock()

    def test_new_versions_inherit_the_group_of_the_folder(self, tmp_path: Path) -> None:
        """A setgid folder is how a Traefik in that group can read the file."""
        folder = tmp_path / "shared"
        folder.mkdir()
        folder.chmod(0o2750)
        file = AtomicFile(folder / "routes.toml", 0o640)
        file.lock()
        file.unlock()

        assert stat.S_IMODE((folder / "routes.toml.tmp").stat().st_mode) == 0o2750

    def test_another_writer_can_lock_it_after_unlocking(self, file: AtomicFile) -> None:
        """Unlocking twice is allowed."""
        file.unlock()
        file.unlock()
        other = AtomicFile(file.path, 0o600)
        other.lock()
        other.unlock()

    def test_unfinished_files_of_an_earlier_writer_are_removed(self, file: AtomicFile) -> None:
        """They do not pile up."""
        folder = file.path.with_name("some.toml.tmp")
        file.unlock()
        (folder / "new-1").write_bytes(b"half")
        (folder / "new-2").write_bytes(b"")
        file.lock()

        assert [left.name for left in folder.iterdir()] == ["lock"]

    def test_a_longer_name_in_the_lock_is_overwritten_whole(self, file: AtomicFile) -> None:
        """The lock names only this process, whatever it contained before."""
        lock = file.path.with_name("some.toml.tmp") / "lock"
        file.unlock()
        lock.write_text("process 123456789012345 of an earlier time\n")
        file.lock()

        assert lock.read_text() == f"process {os.getpid()}\n"

    def test_a_link_in_the_place_of_the_lock_is_not_followed(self, file: AtomicFile, tmp_path: Path) -> None:
        """Nobody can use the lock to empty another file."""
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


def give_away(path: Path) -> None:
    os.chown(path, USER, GROUP)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


class TestDamage:
    """Changes by others are detected without reading the file."""

    @pytest.mark.parametrize(
        ("harm", "damage"),
        [
            (delete, "was deleted"),
            (truncate, "was emptied"),
            (edit_in_place, "was edited or replaced"),
            (append, "was edited or replaced"),
            (replace, "was edited or replaced"),
            (open_to_all, "has different permissions (-rw-rw-rw-)"),
            pytest.param(give_away, f"belongs to another user or group ({USER}:{GROUP})", marks=needs_root),
            (make_folder, "was edited or replaced"),
            (make_link, "was edited or replaced"),
        ],
    )
    async def test_it_is_named(self, file: AtomicFile, harm: Callable[[Path], None], damage: str) -> None:
        """The log says what has happened to the file."""
        await file.replace(b"content")
        harm(file.path)

        assert await asyncio.to_thread(file.damage) == damage

    @pytest.mark.parametrize("harm", [delete, truncate, edit_in_place, append, replace, open_to_all, make_link])
    async def test_the_next_replacement_repairs_it(self, file: AtomicFile, harm: Callable[[Path], None]) -> None:
        """Content and permissions are as they should be."""
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
        """The last version is still in place."""
        await file.replace(b"content")
        with disturbed(file.path, "rename", failing(errno.EIO)), pytest.raises(ReplaceFailed):
            await file.replace(b"new")

        assert await asyncio.to_thread(file.damage) is None

    async def test_a_file_that_cannot_be_examined_is_damaged(self, file: AtomicFile) -> None:
        """The message is that of the operating system."""
        await file.replace(b"content")
        with mock.patch.object(Path, "lstat", side_effect=OSError(errno.EIO, "Input/output error")):
            damage = await asyncio.to_thread(file.damage)

        assert damage == "cannot be examined (Input/output error)"


class TestPrivateFiles:
    """write_private() replaces a file as a whole by one that only its owner can read."""

    def test_it_is_private_whatever_the_umask_and_the_old_file(self, tmp_path: Path) -> None:
        """The old file, or what a symbolic link points to, is not written to."""
        elsewhere, file = tmp_path / "elsewhere", tmp_path / "key.pem"
        elsewhere.write_text("untouched")
        file.symlink_to(elsewhere)
        before = os.umask(0)
        try:
            write_private(file, b"secret")
        finally:
            os.umask(before)

        assert (file.read_bytes(), mode_of(file), file.is_symlink()) == (b"secret", 0o600, False)
        assert elsewhere.read_text() == "untouched"

    @pytest.mark.parametrize("failing_call", ["os.fchmod", "pathlib.Path.replace"])
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path, failing_call: str) -> None:
        """Failed attempts do not pile up."""
        file = tmp_path / "key.pem"
        file.write_bytes(b"old")
        with mock.patch(failing_call, side_effect=OSError(errno.EIO, "I/O error")), pytest.raises(OSError, match="I/O"):
            write_private(file, b"new")

        assert [left.name for left in tmp_path.iterdir()] == ["key.pem"]
        assert file.read_bytes() == b"old"
