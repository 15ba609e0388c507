"""The certificate of a soak, and its renewal."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import ssl
from pathlib import Path

from support.certificates import make_certificate
from support.waiting import eventually

from .expected import Expected
from .users import CERTIFICATE, Connection


class Certificate:
    """The pair of files that the admin keeps.

    Attributes:
        traits: The traits for it.
    """

    def __init__(self, folder: Path, expected: Expected) -> None:
        """Make the first one.

        Args:
            folder: Where the files are.
            expected: Is told which certificates users may see.
        """
        self._folder = folder
        self._expected = expected
        self._pair = make_certificate(folder, "hub")
        self._number = 0
        self.traits = self._pair.traits
        expected.expect(CERTIFICATE, {_digest(self._pair.cert)})

    async def replace(self, seconds: float) -> None:
        """Replace the files as certbot may: first one, and the other so many seconds later."""
        self._number += 1
        folder = self._folder / f"renewal-{self._number}"
        folder.mkdir()
        new = make_certificate(folder, "hub")
        self._expected.expect(CERTIFICATE, {*self._expected.answers(CERTIFICATE), _digest(new.cert)})
        shutil.copy(new.key, self._pair.key)
        await asyncio.sleep(seconds)
        shutil.copy(new.cert, self._pair.cert)

    async def is_served(self, url: str) -> None:
        """Wait until it is; from then on, expect no other."""
        digest = _digest(self._pair.cert)

        async def is_shown() -> bool:
            connection = await Connection.open(url)
            connection.close()
            return connection.certificate == digest

        await eventually(is_shown, within=30)
        self._expected.expect(CERTIFICATE, {digest})


def _digest(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()[:12]
