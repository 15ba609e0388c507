"""traefik_toml_proxy.seams: the values that cross the seams."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.seams import Answer


@pytest.mark.parametrize(("live", "expected"), [(None, False), (6, False), (7, True), (8, True)])
def test_an_answer_serves_its_revision_and_all_earlier_ones(live: int | None, expected: bool) -> None:
    """A later revision contains the changes of the earlier ones; without a revision nothing is served."""
    answer = Answer(live, answered=True, description="some answer")

    assert answer.serves(7) is expected
