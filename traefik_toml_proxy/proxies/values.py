"""Checks and converts the values of single traits."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigurationError, quoted


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
