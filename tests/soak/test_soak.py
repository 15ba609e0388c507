"""Minutes of changes, faults and users at the same time: ``pytest -m soak``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.soak.run import Soak


@pytest.mark.soak
async def test_nothing_is_lost_wrong_or_left(
    traits: dict[str, Any], tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """What users see is right at each moment, and the processes hold no more at the end than at the beginning."""
    seed = pytestconfig.getoption("--seed")
    seed = random.randrange(10**6) if seed is None else seed
    with capsys.disabled():
        print(f"\nthe seed of this soak: --seed {seed}")
    url = traits["public_url"].replace("http:", "https:")
    soak = Soak({**traits, "public_url": url, "track_activity": True}, tmp_path, seed)
    try:
        await soak.run(60 * pytestconfig.getoption("--minutes"))
    finally:
        print(soak.told())  # pytest shows it if the test fails
    with capsys.disabled():
        print("".join(f"left out: {fault}: {why}\n" for fault, why in soak.left_out.items()))
