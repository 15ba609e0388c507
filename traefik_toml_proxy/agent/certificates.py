"""Reads and makes certificates in a process of its own, as what that needs takes 10 MiB. Does I/O, and blocks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..runtime.certificate import PairFiles, default_pair
from ..runtime.pairs import Pair, UnusablePair

# Seconds in which a pair must have been read, on a very slow machine.
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PairFilesInChild(PairFiles):
    """The admin's files, which are understood in another process."""

    def pair(self, contents: tuple[bytes, bytes]) -> Pair:
        """Return the pair in the contents of the files. Takes about a second.

        Raises:
            UnusablePair: If Traefik could not serve it.
        """
        answer = _ask(
            cert_file=str(self.cert_file),
            key_file=str(self.key_file),
            passphrase=self.passphrase,
            contents=[content.decode("latin-1") for content in contents],
        )
        if "unusable" in answer:
            raise UnusablePair(answer["unusable"])
        return _read(answer)


def default_pair_in_child(folder: Path) -> Pair:
    """Return the self-signed pair in ``folder``; see :func:`~traefik_toml_proxy.runtime.certificate.default_pair`.

    Raises:
        ConfigurationError: If it cannot be written.
    """
    answer = _ask(folder=str(folder))
    if "unusable" in answer:
        raise ConfigurationError(answer["unusable"])
    return _read(answer)


def _ask(**task: object) -> dict[str, Any]:
    """Give a task to a process, over its standard input, which nobody else sees; return its answer.

    Raises:
        ConfigurationError: If it has none.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(task).encode(),
            stdout=subprocess.PIPE,
            check=True,
            timeout=_SECONDS,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigurationError(f"The process that reads certificates has failed: {error}") from None
    return answer


def _read(answer: dict[str, Any]) -> Pair:
    return Pair(
        answer["chain"].encode(),
        answer["key"].encode(),
        datetime.fromisoformat(answer["not_before"]),
        datetime.fromisoformat(answer["not_after"]),
        answer["server_name"],
    )


def _do(task: dict[str, Any]) -> Pair:
    if "folder" in task:
        return default_pair(Path(task["folder"]))
    certificate, key = (content.encode("latin-1") for content in task["contents"])
    return PairFiles(Path(task["cert_file"]), Path(task["key_file"]), task["passphrase"]).pair((certificate, key))


def main() -> None:
    """Do one task."""
    try:
        pair = asdict(_do(json.load(sys.stdin)))
    except (UnusablePair, ConfigurationError) as error:
        sys.stdout.write(json.dumps({"unusable": str(error)}))
        return
    texts = {name: value.decode() for name, value in pair.items() if isinstance(value, bytes)}
    sys.stdout.write(json.dumps(pair | texts, default=datetime.isoformat))


if __name__ == "__main__":
    main()
