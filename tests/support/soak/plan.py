"""What a soak does, and in which order. Everything random about it comes from here, and from one seed. Pure."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass

from support.disk import STEPS_BEFORE

SERVERS = ("hub", "s0", "s1", "s2", "s3", "s4")
HUB = SERVERS[0]

# What can happen. The names are those of the methods of ``run.Faults``.
WITH_A_NEW_HUB = ("kill_the_hub", "kill_the_hub", "stop_the_hub", "kill_both", "renew_and_kill_the_hub")
WITH_A_NEW_TRAEFIK = ("kill_traefik",)
WITHOUT = ("break_the_disk", "renew_the_certificate", "delete_the_file", "empty_the_file")

# The parts of a soak: their share of its time, and their faults. What leaks in a process is seen only while it lives, so the
# Hub lives through the second and the third, and Traefik through the third.
PARTS = (
    (0.4, (*WITH_A_NEW_HUB, *WITH_A_NEW_TRAEFIK, *WITHOUT)),
    (0.3, (*WITH_A_NEW_TRAEFIK * 3, *WITHOUT)),
    (0.3, WITHOUT),
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
    """

    name: str
    pause: float
    seconds: float
    step: str
    number: int

    def __str__(self) -> str:
        if self.name == "break_the_disk":
            return f"{self.name} ({self.step}: {errno.errorcode[self.number]}, for {self.seconds:.1f} s)"
        return self.name


def changes(seed: int) -> Iterator[Changes]:
    """Yield changes without an end."""
    dice = random.Random(f"{seed} changes")
    while True:
        places = dice.sample(MOVING, dice.choice((1, 1, 1, 2, 3, 8)))
        # None is as frequent as all servers together, so that there are times with many routes, and with few.
        servers = {place: dice.choice((None, dice.choice(SERVERS[1:]))) for place in places}
        yield Changes(dice.uniform(0, 0.2), servers)


def faults(seed: int, part: int) -> Iterator[Fault]:
    """Yield the faults of a part without an end: all of them, then all of them again in another order."""
    dice = random.Random(f"{seed} faults {part}")
    while True:
        names = list(PARTS[part][1])
        dice.shuffle(names)
        for name in names:
            yield Fault(
                name,
                pause=dice.uniform(0.2, 2),
                seconds=dice.uniform(0.5, 3),
                step=dice.choice(STEPS_BEFORE),
                number=dice.choice((errno.ENOSPC, errno.EIO, errno.EACCES)),
            )
