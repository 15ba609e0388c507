"""Checks and converts the values of single traits."""

from __future__ import annotations

import grp
from pathlib import Path
from typing import Any

from traitlets import Integer

from ..errors import ConfigurationError, quoted

# The largest number stands for "no group" (chown(2)).
_MOST_GROUPS = 2**32 - 1


class Mode(Integer):  # type: ignore[type-arg] # traitlets 5.6 takes no parameters
    """A trait for the permissions of a file. An error says how to write them."""

    info_text = "an octal number without quotes, such as 0o660"

    def validate(self, obj: Any, value: Any) -> int:
        """See :class:`traitlets.TraitType`."""
        if not isinstance(value, int) or not 0 <= value <= 0o777:
            self.error(obj, value)
        return value

    def from_string(self, s: str) -> int:
        """See :class:`traitlets.TraitType`; for the command line."""
        return int(s, 8)


def without_options(command: list[str]) -> list[str]:
    """Return ``traefik_command``; with an option, asking it for its version could start Traefik on a port.

    Raises:
        ConfigurationError: If it has one.
    """
    options = [word for word in command[1:] if word.startswith("-")]
    if options:
        raise ConfigurationError(
            f"c.TraefikProxy.traefik_command has the option {quoted(options[0])}. Traefik ignores options beside a "
            "configuration file: put them into c.TraefikProxy.extra_static_config. If it is for another program, let "
            'traefik_command be a script that runs it and ends with "$@".'
        )
    return command


def absolute(configured: str) -> Path:
    """Return a configured path as an absolute path; a relative one is relative to the Hub's working directory."""
    return Path(configured).expanduser().absolute()


def group_id(name: str) -> int | None:
    """Return the id of the group in ``dynamic_config_file_group``, or None for "". Blocks: it may ask a directory service.

    Args:
        name: The name of the group, or its number, which is enough where no name is known, as in a container.

    Raises:
        ConfigurationError: If there is no such group.
    """
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isascii() and name.isdigit() and int(name) < _MOST_GROUPS:
            return int(name)
        raise ConfigurationError(
            f"dynamic_config_file_group is {quoted(name)}, but there is no such group on this machine."
        ) from None
