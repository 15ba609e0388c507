"""A program that becomes the process of a container: ``python3 inside.py '<json>'``, in namespaces for mounts and processes.

It gets a root of its own, with everything that this machine has, and nothing that it changes there stays. Volumes are
mounted where the container has them; then it becomes the container's user and runs its command.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_SET_NO_NEW_PRIVS = 38


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main(container: dict[str, Any]) -> None:
    """Become the container."""
    work, root = Path(container["work"]), Path(container["work"], "root")
    _mount("-t", "tmpfs", "tmpfs", str(work))
    for name in ("root", "upper", "changes"):
        work.joinpath(name).mkdir()
    layers = f"lowerdir=/,upperdir={work}/upper,workdir={work}/changes"
    _mount("-t", "overlay", "overlay", "-o", layers, str(root))
    # The image has its programs where everybody may run them; here they may be in root's home.
    for path in [path for program in container["programs"] for path in Path(program).parents]:
        below = root / path.relative_to("/")
        below.chmod(below.stat().st_mode | 0o011)
    root.joinpath("etc/hosts").write_text(container["hosts"])
    for volume in container["volumes"]:
        target = root / volume["path"].lstrip("/")
        if volume["file"]:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        else:
            target.mkdir(parents=True, exist_ok=True)
        _mount("--bind", volume["source"], str(target))
        if volume["read_only"]:
            _mount("-o", "remount,bind,ro", str(target))
    if container["read_only"]:
        _mount("-o", "remount,ro", str(root))
    _mount("--rbind", "/dev", str(root / "dev"))
    _mount("--rbind", "/proc", str(root / "proc"))
    os.chroot(root)
    os.chdir(container["folder"])
    os.setgroups([container["group"]])
    os.setgid(container["group"])
    os.setuid(container["user"])
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    variables = (dict(os.environ) if container["inherits"] else {}) | container["environment"]
    os.execvpe(container["command"][0], container["command"], variables)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
