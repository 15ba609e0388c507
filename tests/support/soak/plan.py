"""What a soak does, and in which order. Everything random about it comes from here, and from one seed. Pure."""

from __future__ import annotations

import errno
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from support.disk import STEPS_BEFORE

SERVERS = ("hub", "s0", "s1", "s2", "s3", "s4")
HUB = SERVERS[0]

# What can happen. The names are those of the methods of ``faults.Faults``, and of ``expected.BOUNDS``.
WITH_A_NEW_HUB = ("kill_the_hub", "kill_the_hub", "stop_the_hub", "kill_both", "renew_and_kill_the_hub")
WITHOUT = (
    *("break_the_disk", "renew_the_certificate", "stop_traefik"),
    *("delete_the_file", "empty_the_file", "cut_the_file", "close_the_file"),
    *("empty_the_folder", "close_the_folder"),
)
# Those that last, for as long as the plan says.
LASTING = {"break_the_disk", "close_the_folder", "renew_the_certificate", "renew_and_kill_the_hub", "stop_traefik"}
# Those that the proxy has to notice.
QUIET = {"delete_the_file", "empty_the_file", "cut_the_file", "close_the_file", "empty_the_folder"}


@dataclass(frozen=True)
class Part:
    """A part of a soak.

    Attributes:
        share: Its share of the time.
        faults: What happens in it.
        more: What also happens in it, if there is time.
    """

    share: float
    faults: tuple[str, ...]
    more: tuple[str, ...] = ()


# What leaks in a process is seen only while it lives, so the Hub lives through the second and the third, and Traefik through
# the third.
PARTS = (
    Part(0.4, (*WITH_A_NEW_HUB, "kill_traefik", "move_the_folder"), WITHOUT),
    Part(0.3, ("kill_traefik", "replace_the_folder", *WITHOUT)),
    Part(0.3, WITHOUT),
)


@dataclass(frozen=True)
class Place:
    """A place that may have a route.

    Attributes:
        path: The routespec.
        above: The servers that would answer if it had none, the nearest first.
        server: The server that its route leads to at first; None if it has none.
    """

    path: str
    above: tuple[str, ...] = (HUB,)
    server: str | None = None


# The number of routes crosses 100 again and again, where they begin to be in layers (traefik/layers.py).
STEADY = (
    Place("/", above=(), server=HUB),
    *(Place(f"/user/steady-{number}/", server=SERVERS[1 + number % 5]) for number in range(91)),
)
MOVING = (
    *(Place(f"/user/moving-{number}/") for number in range(18)),
    *(Place(f"/user/steady-{number}/in%20it/", above=(SERVERS[1 + number % 5], HUB)) for number in range(6)),
)


@dataclass(frozen=True)
class Changes:
    """Changes that are asked for at the same moment.

    Attributes:
        pause: Seconds to wait before.
        servers: By place, the server that its route shall lead to; None if it is to be deleted.
    """

    pause: float
    servers: dict[Place, str | None]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: Which fault.
        pause: Seconds to wait before.
        seconds: How long it lasts, if it is one that lasts.
        step: The step of writing the file that fails, if the disk does.
        number: With which errno.
        mode: The permissions that a folder has meanwhile, if they are taken away.
        quiet: Whether nobody changes routes meanwhile: a change mends some faults before the proxy has to notice them.
    """

    name: str
    pause: float
    seconds: float
    step: str
    number: int
    mode: int
    quiet: bool

    def __str__(self) -> str:
        how = [f"for {self.seconds:.1f} s"] if self.seconds else []
        if self.name == "break_the_disk":
            how.append(f"{self.step}: {errno.errorcode[self.number]}")
        if self.name == "close_the_folder":
            how.append(f"{self.mode:03o}")
        if self.quiet:
            how.append("without changes")
        return f"{self.name} ({', '.join(how)})" if how else self.name


def changes(seed: int) -> Iterator[Changes]:
    """Yield changes without an end."""
    dice = random.Random(f"{seed} changes")
    while True:
        places = dice.sample(MOVING, dice.choice((1, 1, 1, 2, 3, 8)))
        # None is as frequent as all servers together, so that there are times with many routes, and with few.
        servers = {place: dice.choice((None, dice.choice(SERVERS[1:]))) for place in places}
        yield Changes(dice.uniform(0, 0.2), servers)


def faults(seed: int, part: int) -> Iterator[Fault]:
    """Yield the faults of a part without an end: all of them, then all of them and more, again and again in other orders."""
    dice = random.Random(f"{seed} faults {part}")
    for more in itertools.chain([()], itertools.repeat(PARTS[part].more)):
        names = [*PARTS[part].faults, *more]
        dice.shuffle(names)
        for name in names:
            yield Fault(
                name,
                pause=dice.uniform(0.2, 1),
                seconds=dice.uniform(0.5, 3) if name in LASTING else 0,
                step=dice.choice(STEPS_BEFORE),
                number=dice.choice((errno.ENOSPC, errno.EIO, errno.EACCES)),
                mode=dice.choice((0o000, 0o500)),
                quiet=name in QUIET and dice.random() < 0.7,
            )
