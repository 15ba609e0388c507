"""FollowedOutput: Traefik's output goes from a file to the Hub's log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.waiting import eventually, meanwhile

from traefik_toml_proxy.runtime import output
from traefik_toml_proxy.runtime.output import FollowedOutput

TIME = "2026-11-22T22:40:36Z"


@pytest.fixture
def followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> FollowedOutput:
    """An empty output file, followed into a log at level DEBUG."""
    caplog.set_level(logging.DEBUG, logger="hub")
    return FollowedOutput(tmp_path / "traefik.log", logging.getLogger("hub"))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the messages in the log."""
    return lambda: [record.getMessage() for record in caplog.records]


def write(followed: FollowedOutput, data: bytes) -> None:
    with followed.path.open("ab") as file:
        file.write(data)


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("TRC", logging.DEBUG),
        ("DBG", logging.DEBUG),
        ("INF", logging.INFO),
        ("WRN", logging.WARNING),
        ("ERR", logging.ERROR),
        ("FTL", logging.CRITICAL),
        ("PNC", logging.CRITICAL),
    ],
)
async def test_a_line_is_logged_at_its_own_level(
    followed: FollowedOutput, caplog: pytest.LogCaptureFixture, word: str, level: int
) -> None:
    """What Traefik logs as an error is an error in the Hub's log; its time stamp is left out."""
    write(followed, f"{TIME} {word} something happened error=x\n".encode())
    await followed.catch_up()

    assert caplog.record_tuples == [("hub", level, "Traefik: something happened error=x")]


async def test_a_line_of_another_form_is_logged_as_it_is(
    followed: FollowedOutput, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, the lines of a Go panic have no level."""
    write(followed, b"panic: runtime error\n")
    await followed.catch_up()

    assert caplog.record_tuples == [("hub", logging.INFO, "Traefik: panic: runtime error")]


async def test_a_line_is_logged_when_it_is_complete(followed: FollowedOutput, logged: Callable[[], list[str]]) -> None:
    """An incomplete line waits for the rest, even in the middle of a character."""
    line = "caf\u00e9\n".encode()
    for part in (line[:4], line[4:5], line[5:]):
        write(followed, part)
        await followed.catch_up()

    assert logged() == ["Traefik: caf\u00e9"]


async def test_every_line_is_logged_once(followed: FollowedOutput, logged: Callable[[], list[str]]) -> None:
    """Catching up again logs only new lines."""
    write(followed, b"one\ntwo\n")
    await followed.catch_up()
    await followed.catch_up()
    write(followed, b"\n\nthree\n")
    await followed.catch_up()

    assert logged() == ["Traefik: one", "Traefik: two", "Traefik: three"]


async def test_two_that_catch_up_at_once_log_every_line_once(
    followed: FollowedOutput, logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower and a caller that needs the last lines now do not interfere."""
    both = threading.Barrier(2)
    really_read = os.pread

    def read_slowly(*arguments: int) -> bytes:
        """Slowly enough for two readers to overlap, if nothing prevents it."""
        data = really_read(*arguments)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return data

    write(followed, b"".join(b"line %d\n" % number for number in range(100)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", read_slowly)
        await asyncio.gather(followed.catch_up(), followed.catch_up())
    write(followed, b"the end\n")
    await followed.catch_up()

    assert logged() == [*(f"Traefik: line {number}" for number in range(100)), "Traefik: the end"]


async def test_much_output_at_once_is_logged_completely(
    followed: FollowedOutput, logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output that does not fit into one read is read in several."""
    monkeypatch.setattr(output, "_ONE_READ", 100)
    lines = [f"line {number}" for number in range(200)]
    write(followed, "".join(line + "\n" for line in lines).encode())
    await followed.catch_up()

    assert logged() == [f"Traefik: {line}" for line in lines]


async def test_an_endless_line_is_cut(
    followed: FollowedOutput, logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of any length needs a bounded amount of memory, and the next line is complete."""
    monkeypatch.setattr(output, "_ONE_READ", 1000)
    write(followed, b"x" * 50_000)
    for _ in range(60):
        await followed.catch_up()
    write(followed, b"\nnext\n")
    for _ in range(5):
        await followed.catch_up()

    assert [len(line) for line in logged()] == [len("Traefik: ") + 4000, len("Traefik: next")]


async def test_control_characters_are_escaped(followed: FollowedOutput, logged: Callable[[], list[str]]) -> None:
    """A line may contain text from requests: no terminal escape sequence or line end reaches the log."""
    write(followed, b"GET /\x1b[31m\r\x00\xff\xe2\x80\xa8end\tof\n")
    await followed.catch_up()

    assert logged() == ["Traefik: GET /\\x1b[31m\\r\\x00\\xff\\u2028end\tof"]


async def test_percent_signs_are_plain_text(followed: FollowedOutput, logged: Callable[[], list[str]]) -> None:
    """A line is not used as a format."""
    write(followed, b"%s %d %(x)s 100%\n")
    await followed.catch_up()

    assert logged() == ["Traefik: %s %d %(x)s 100%"]


async def test_the_last_lines_are_kept_for_errors(followed: FollowedOutput) -> None:
    """There are twenty of them; older ones are in the log."""
    write(followed, b"".join(b"line %d\n" % number for number in range(100)))
    await followed.catch_up()

    assert followed.last_lines == [f"line {number}" for number in range(80, 100)]


async def test_a_new_process_starts_with_an_empty_file(
    followed: FollowedOutput, logged: Callable[[], list[str]]
) -> None:
    """Its output is read from the beginning, and the last lines are only its own."""
    write(followed, b"old\nhalf")
    await followed.catch_up()
    descriptor = await asyncio.to_thread(followed.open_for_child)
    os.write(descriptor, b"new\n")
    os.close(descriptor)
    await followed.catch_up()

    assert logged() == ["Traefik: old", "Traefik: new"]
    assert followed.last_lines == ["new"]


async def test_the_file_is_private(followed: FollowedOutput) -> None:
    """It may contain users' requests; it is 0600 whatever the umask."""
    before = os.umask(0)
    descriptor = await asyncio.to_thread(followed.open_for_child)
    os.umask(before)
    os.close(descriptor)

    assert stat.S_IMODE(followed.path.stat().st_mode) == 0o600


async def test_a_link_in_its_place_is_not_followed(followed: FollowedOutput, tmp_path: Path) -> None:
    """Nobody can use it to empty another file."""
    (tmp_path / "precious").write_text("precious")
    followed.path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        await asyncio.to_thread(followed.open_for_child)

    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_traefik_that_ran_before_is_followed_from_now_on(
    followed: FollowedOutput, logged: Callable[[], list[str]]
) -> None:
    """Lines that an earlier Hub has logged are not logged again."""
    write(followed, b"old\n")
    await asyncio.to_thread(followed.skip_to_end)
    write(followed, b"new\n")
    await followed.catch_up()

    assert logged() == ["Traefik: new"]


async def test_nothing_to_skip_is_no_error(followed: FollowedOutput) -> None:
    """The output file of a running Traefik may have been deleted."""
    await asyncio.to_thread(followed.skip_to_end)
    await followed.catch_up()


async def test_a_large_file_is_emptied(
    followed: FollowedOutput, logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file does not grow forever, and the process goes on appending to it."""
    monkeypatch.setattr(output, "_LARGEST_FILE", 1000)
    descriptor = await asyncio.to_thread(followed.open_for_child)
    for number in range(100):
        os.write(descriptor, b"line %02d of some length\n" % number)
        await followed.catch_up()
    os.close(descriptor)

    assert logged() == [f"Traefik: line {number:02} of some length" for number in range(100)]
    assert followed.path.stat().st_size < 1100


async def test_a_file_that_was_truncated_is_followed_from_its_beginning(
    followed: FollowedOutput, logged: Callable[[], list[str]]
) -> None:
    """Truncation by logrotate (copytruncate) does not stop the log."""
    write(followed, b"a long line before\n")
    await followed.catch_up()
    os.truncate(followed.path, 0)
    write(followed, b"after\n")
    await followed.catch_up()

    assert logged() == ["Traefik: a long line before", "Traefik: after"]


async def test_a_file_that_is_gone_is_no_error(followed: FollowedOutput, logged: Callable[[], list[str]]) -> None:
    """There is nothing to log, and following goes on."""
    write(followed, b"one\n")
    await followed.catch_up()
    followed.path.unlink()
    await followed.catch_up()

    assert logged() == ["Traefik: one"]


async def test_following_logs_new_lines(followed: FollowedOutput, logged: Callable[[], list[str]]) -> None:
    """It keeps reading until it is cancelled."""
    async with meanwhile(followed.follow(0.001)):
        write(followed, b"one\n")
        await eventually(lambda: logged() == ["Traefik: one"])
        write(followed, b"two\n")
        await eventually(lambda: logged() == ["Traefik: one", "Traefik: two"])


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.rename(path.with_name("old"))])
async def test_a_file_that_others_have_removed_is_read_on(
    followed: FollowedOutput, logged: Callable[[], list[str]], harm: Callable[[Path], object]
) -> None:
    """The process still writes to it; the next one gets a new file."""
    descriptor = await asyncio.to_thread(followed.open_for_child)
    await followed.catch_up()
    harm(followed.path)
    os.write(descriptor, b"one\n")
    os.close(descriptor)
    await followed.catch_up()
    descriptor = await asyncio.to_thread(followed.open_for_child)
    os.write(descriptor, b"two\n")
    os.close(descriptor)
    await followed.catch_up()
    await asyncio.to_thread(followed.close)

    assert logged() == ["Traefik: one", "Traefik: two"]
