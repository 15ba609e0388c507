"""The volumes of a pod as folders: as the kubelet lays them out, from rendered Secrets and ConfigMaps."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.charts import Object

_NUMBERS = itertools.count()


def contents(made: Object) -> dict[str, bytes]:
    """Return the files of a Secret or a ConfigMap."""
    if made["kind"] == "Secret":
        return {name: base64.b64decode(text) for name, text in made["data"].items()}
    return {name: text.encode() for name, text in made["data"].items()}


def write(folder: Path, files: Mapping[str, bytes], mode: int, group: int) -> None:
    """Write files, or replace all of them at once: each is a link through the link ``..data``."""
    before = folder.joinpath("..data")
    now = folder / f"..{next(_NUMBERS)}"
    now.mkdir()
    for name, content in files.items():
        file = now / name
        file.write_bytes(content)
        file.chmod(mode)
        os.chown(file, 0, group)
        if not folder.joinpath(name).is_symlink():
            folder.joinpath(name).symlink_to(f"..data/{name}")
    link = folder / "..data_tmp"
    link.symlink_to(now.name)
    link.replace(before)


def lay_out(volume: Mapping[str, Any], folder: Path, files: Mapping[str, Mapping[str, bytes]], group: int) -> None:
    """Make the folder of a volume.

    Args:
        volume: What the pod says of it.
        folder: Where to make it; it stays as it is if it is there.
        files: The files of all Secrets and ConfigMaps, by their names.
        group: The group of the pod (fsGroup).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, key in (("secret", "secretName"), ("configMap", "name")):
        if kind in volume:
            given = files[volume[kind][key]]
            items = {item["key"]: item["path"] for item in volume[kind].get("items", [])} or {
                name: name for name in given
            }
            chosen = {path: given[name] for name, path in items.items()}
            write(folder, chosen, volume[kind].get("defaultMode", 0o644), group)
            return
    # An empty folder, or a disk.
    os.chown(folder, 0, group)
    folder.chmod(0o2770)
