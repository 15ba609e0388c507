"""traefik.tls: what is wrong with the dates of a certificate."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from traefik_toml_proxy.traefik.tls import validity_problem

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        (timedelta(hours=1), timedelta(days=90), "is not valid before 2026-05-01 13:00 UTC; browsers refuse it"),
        (timedelta(days=-90), timedelta(0), "expired at 2026-05-01 12:00 UTC; browsers refuse it"),
        (timedelta(days=-77), timedelta(days=13), "expires at 2026-05-14 12:00 UTC"),
        (timedelta(days=-60), timedelta(days=30), ""),
        # What lives for six days is renewed after three; what lives for ten years is not renewed two years before.
        (timedelta(days=-3), timedelta(days=3), ""),
        (timedelta(days=-5.5), timedelta(days=0.5), "expires at 2026-05-02 00:00 UTC"),
        (timedelta(days=-3000), timedelta(days=300), ""),
    ],
)
def test_a_warning_comes_in_time_and_not_before_a_renewal_is_due(
    begins: timedelta, ends: timedelta, expected: str
) -> None:
    """It depends on the whole lifetime of the certificate."""
    assert validity_problem(NOW + begins, NOW + ends, NOW) == expected
