"""The faults of a soak. What may come of each is in ``expected.BOUNDS``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from support.inside import traefik_pid
from support.processes import alive
from support.waiting import PATIENCE, eventually
from traefik_toml_proxy.stores.toml_document import read_snapshot

from .certificate import Certificate
from .changes import Changes
from .expected import BOUNDS, Expected
from .plan import STEADY, Fault
from .users import Connection, Failed

# What Traefik or the next Hub needs in state_dir. The log of Traefik is not among it, which may go on without a name.
NEEDED = {
    *("certificates/{hash}-cert.pem", "certificates/{hash}-key.pem"),
    *("dynamic.toml", "dynamic.toml.tmp/lock", "traefik.toml", "traefik.toml.tmp/lock"),
    *("hub.lock", "traefik-process.json"),
}
# How long to wait for something; how long it may take, is judged in the end.
_LONG = 60


def files_in(state: Path) -> list[str]:
    """Return the names of the files in state_dir, without what is different in each."""
    files = [Path(folder, name).relative_to(state) for folder, _, names in os.walk(state) for name in names]
    return [re.sub(r"[0-9a-f]{32}", "{hash}", str(file)) for file in files]


class Faults:
    """What goes wrong. Each method returns when all is as it should be again."""

    def __init__(self, state: Path, url: str, changes: Changes, certificate: Certificate, expected: Expected) -> None:
        """Harm nothing yet.

        Args:
            state: The folder of the proxy.
            url: The public entry point.
            changes: Has the Hub, and changes its routes.
            certificate: Is renewed.
            expected: Is told what goes wrong.
        """
        self._state = state
        self._file = state / "dynamic.toml"
        self._url = url
        self._changes = changes
        self._certificate = certificate
        self._expected = expected

    async def commit(self, fault: Fault) -> float:
        """Have something go wrong; return how many seconds later it was mended."""
        doing: Callable[[Fault], Awaitable[None]] = getattr(self, f"_{fault.name}")
        most = BOUNDS[fault.name].mended
        with self._expected.outage(fault.name, fault.seconds) as outage:
            began = self._expected.now
            await doing(fault)
            seconds = self._expected.now - began - fault.seconds - outage.excused
        if seconds > most * PATIENCE:
            self._expected.problem(f"{fault} was mended after {seconds:.1f} s, more than {most:g} s")
        return seconds

    # Of the Hub and of Traefik.

    async def _kill_the_hub(self, _: Fault) -> None:
        """SIGKILL; the next Hub takes over Traefik with all routes, and nobody notices."""
        async with self._changes.no_new_ones():
            traefik = traefik_pid(self._state)
            await self._changes.hub.kill()
            await self._changes.start_hub()
            if traefik_pid(self._state) != traefik:
                self._expected.problem("a new Traefik was started, although there was one")
            await self._changes.compare()

    async def _stop_the_hub(self, _: Fault) -> None:
        """stop(); Traefik ends with it, and the next one is given all routes again."""
        async with self._changes.no_new_ones():
            traefik = traefik_pid(self._state)
            await self._changes.hub.stop()
            if alive(traefik):
                self._expected.problem("Traefik has not ended with its Hub")
            await self._start_without_routes()

    async def _kill_both(self, _: Fault) -> None:
        """SIGKILL for both, as when the machine fails."""
        async with self._changes.no_new_ones():
            traefik = traefik_pid(self._state)
            await self._changes.hub.kill()
            os.kill(traefik, signal.SIGKILL)
            # Its threads end one after another, and the last one closes its sockets.
            await eventually(self._nobody_listens, within=_LONG)
            await self._start_without_routes()

    async def _start_without_routes(self) -> None:
        await self._changes.start_hub()
        table = await self._changes.hub.do("routes")
        if table:
            self._expected.problem(f"a new Traefik has routes that the Hub has not confirmed: {table}")
        await self._changes.add_all()

    async def _kill_traefik(self, _: Fault) -> None:
        """SIGKILL; it is started again with all routes."""
        traefik = traefik_pid(self._state)
        os.kill(traefik, signal.SIGKILL)
        await self._another_serves(traefik)

    async def _stop_traefik(self, fault: Fault) -> None:
        """SIGSTOP, as when the machine is overloaded; then SIGCONT."""
        traefik = traefik_pid(self._state)
        os.kill(traefik, signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            os.kill(traefik, signal.SIGCONT)
        await self._change_one()
        if traefik_pid(self._state) != traefik:
            self._expected.problem("Traefik was replaced, although it goes on")

    # Of the certificate.

    async def _renew_the_certificate(self, fault: Fault) -> None:
        """The old one is served until the new one is."""
        await self._certificate.replace(fault.seconds)
        await self._certificate.is_served(self._url)

    async def _renew_and_kill_the_hub(self, fault: Fault) -> None:
        """The Hub may have seen that the files have changed, but not yet that they stay so."""
        await self._certificate.replace(fault.seconds)
        await self._kill_the_hub(fault)
        await self._certificate.is_served(self._url)

    # Of the file.

    async def _delete_the_file(self, fault: Fault) -> None:
        """Traefik keeps what it has read, and the proxy writes the file again."""
        await self._harm_the_file(fault, self._file.unlink)

    async def _empty_the_file(self, fault: Fault) -> None:
        """Traefik serves nothing until the proxy has written the file again."""
        await self._harm_the_file(fault, lambda: os.truncate(self._file, 0))

    async def _cut_the_file(self, fault: Fault) -> None:
        """Within a text, so that it is not TOML any more: Traefik keeps what it has read."""
        await self._harm_the_file(fault, self._cut)

    async def _close_the_file(self, fault: Fault) -> None:
        """Nobody may read it, not even Traefik, which keeps what it has read; the proxy writes it again."""
        await self._harm_the_file(fault, lambda: self._file.chmod(0))

    async def _harm_the_file(self, fault: Fault, harm: Callable[[], object]) -> None:
        async with self._without_changes(fault):
            harm()
            await eventually(self._file_is_whole, within=_LONG)
        # Traefik may read the harmed file only now; but once a later revision is live, never again.
        await self._change_one()

    def _cut(self) -> None:
        with self._file.open("rb+") as file:
            text = file.read()
            file.truncate(text.rindex(b' = "', 0, len(text) * 3 // 4) + 4)

    def _file_is_whole(self) -> bool:
        try:
            return self._file.stat().st_mode & 0o777 == 0o600 and read_snapshot(self._file.read_text()) is not None
        except (FileNotFoundError, ValueError):
            return False

    # Of its folder.

    async def _empty_the_folder(self, fault: Fault) -> None:
        """All files are made again that Traefik or the next Hub needs; Traefik goes on."""
        traefik = traefik_pid(self._state)
        async with self._without_changes(fault):
            async with self._writing_may_fail():
                for entry in list(self._state.iterdir()):
                    if entry.is_dir():
                        shutil.rmtree(entry, ignore_errors=True)  # a new version of the file may be made in it just now
                    else:
                        entry.unlink(missing_ok=True)
            await eventually(lambda: set(files_in(self._state)) >= NEEDED, within=_LONG)
        await self._change_one()
        if traefik_pid(self._state) != traefik:
            self._expected.problem("Traefik was replaced, although its folder is the same")

    async def _move_the_folder(self, _: Fault) -> None:
        """The folder is made again. Traefik watches the old one, so it is replaced."""
        traefik, moved = traefik_pid(self._state), self._state.with_name("moved")
        async with self._writing_may_fail():
            self._state.rename(moved)
        await self._change_one()
        await self._another_serves(traefik)
        shutil.rmtree(moved)

    async def _replace_the_folder(self, _: Fault) -> None:
        """By a copy of it, as when a backup is restored."""
        traefik, moved, copy = traefik_pid(self._state), self._state.with_name("moved"), self._state.with_name("copy")
        shutil.copytree(self._state, copy, ignore=shutil.ignore_patterns("new-*"))
        copy.chmod(0o700)
        async with self._writing_may_fail():
            self._state.rename(moved)
            copy.rename(self._state)
        await self._change_one()
        await self._another_serves(traefik)
        shutil.rmtree(moved)

    async def _close_the_folder(self, fault: Fault) -> None:
        """Nobody may use it for a while: changes fail, and nothing else.

        Not in the moment between Traefik's reading of a new version and of the certificate that it names: a Traefik that
        cannot read the certificate serves no TLS until it reads the next version (docs/explanation/crashes.rst).
        """
        async with self._writing_may_fail():
            async with self._changes.no_new_ones(hub_ends=False):
                await eventually(self._changes.all_known, within=_LONG)
                self._state.chmod(fault.mode)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                self._state.chmod(0o700)
        await self._change_one()

    async def _break_the_disk(self, fault: Fault) -> None:
        """No new version of the file can be written; changes fail, and nothing else."""
        async with self._writing_may_fail():
            await self._changes.hub.do("break_disk", fault.step, fault.number)
            await asyncio.sleep(fault.seconds)
            await self._changes.hub.do("mend_disk")
        await self._change_one()

    # What is common to some.

    @contextlib.asynccontextmanager
    async def _writing_may_fail(self) -> AsyncIterator[None]:
        """While the block runs, changes may fail, and afterwards those that were under way; none of them is made by half."""
        self._changes.writing_may_fail = True
        yield
        async with self._changes.no_new_ones(hub_ends=False):
            await eventually(self._changes.all_known, within=_LONG)
            self._changes.writing_may_fail = False
            await self._changes.compare()

    @contextlib.asynccontextmanager
    async def _without_changes(self, fault: Fault) -> AsyncIterator[None]:
        """While the block runs, nobody changes routes, if the fault is to be noticed by the proxy."""
        if not fault.quiet:
            yield
            return
        async with self._changes.no_new_ones(hub_ends=False):
            await eventually(self._changes.all_known, within=_LONG)
            yield

    async def _change_one(self) -> None:
        """Change a route, which shows that changes are live again."""
        await self._changes.change(STEADY[0], STEADY[0].server)

    async def _another_serves(self, traefik: int) -> None:
        """Wait until another Traefik than this one has routes."""
        await eventually(lambda: self._traefik() not in (None, traefik), within=_LONG)
        await eventually(self._serves, within=_LONG)

    def _traefik(self) -> int | None:
        try:
            return traefik_pid(self._state)
        except FileNotFoundError:
            return None

    async def _nobody_listens(self) -> bool:
        try:
            (await Connection.open(self._url)).close()
        except Failed:
            return True
        return False

    async def _serves(self) -> bool:
        """Whether there are routes at the public entry point."""
        try:
            connection = await Connection.open(self._url)
            try:
                await connection.get(STEADY[0].path)
            finally:
                connection.close()
        except Failed:
            return False
        return True
