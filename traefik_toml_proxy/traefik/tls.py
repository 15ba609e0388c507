"""Decides about certificates and https without reading a file: when a certificate is about to expire. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

# A warning comes when a sixth of the lifetime is left (certbot renews when a third is left), but at most this long before.
_LONGEST_NOTICE = timedelta(days=14)


def validity_problem(not_before: datetime, not_after: datetime, now: datetime) -> str:
    """Return what is wrong with the dates of a certificate, as the end of a sentence, or "".

    Args:
        not_before: From when it is valid; like the others, with a time zone.
        not_after: Until when.
        now: The current time.
    """
    if now < not_before:
        return f"is not valid before {not_before:%Y-%m-%d %H:%M} UTC; browsers refuse it"
    if now >= not_after:
        return f"expired at {not_after:%Y-%m-%d %H:%M} UTC; browsers refuse it"
    if not_after - now < min((not_after - not_before) / 6, _LONGEST_NOTICE):
        return f"expires at {not_after:%Y-%m-%d %H:%M} UTC"
    return ""
