"""Certificates for Traefik: a self-signed default, and the check of the admin's own."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.certificates import make_certificate

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.runtime.certificate import checked_certificate, default_certificate, name_to_ask_for
from traefik_toml_proxy.traefik.dynamic import Certificate


def loads(cert_file: str, key_file: str) -> bool:
    """Whether certificate and key belong together."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    return True


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def encrypt(key_file: Path) -> None:
    """Encrypt a key with a password."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


class TestDefault:
    """With a default certificate, Traefik does not generate a key at each reload."""

    def test_it_is_created_if_there_is_none(self, tmp_path: Path) -> None:
        """The certificate and the key belong together."""
        made = default_certificate(tmp_path)

        assert loads(made.cert_file, made.key_file)

    def test_it_is_small_and_valid_for_years(self, tmp_path: Path) -> None:
        """An elliptic curve is fast, and a clock that is a little off does no harm."""
        made = x509.load_pem_x509_certificate(Path(default_certificate(tmp_path).cert_file).read_bytes())
        now = datetime.now(timezone.utc).replace(tzinfo=None)

        assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)
        assert made.not_valid_before_utc.replace(tzinfo=None) < now - timedelta(hours=12)
        assert made.not_valid_after_utc.replace(tzinfo=None) > now + timedelta(days=3000)

    def test_it_is_kept(self, tmp_path: Path) -> None:
        """The next start uses the same one, so a browser that has accepted it does not ask again."""
        default_certificate(tmp_path)
        before = contents(tmp_path)
        default_certificate(tmp_path)

        assert contents(tmp_path) == before

    def test_it_is_private(self, tmp_path: Path) -> None:
        """Key and certificate are 0600, whatever the umask."""
        before = os.umask(0)
        made = default_certificate(tmp_path)
        os.umask(before)

        assert [stat.S_IMODE(Path(path).stat().st_mode) for path in (made.key_file, made.cert_file)] == [0o600, 0o600]

    @pytest.mark.parametrize(
        "harm",
        [
            lambda folder: (folder / "default-cert.pem").unlink(),
            lambda folder: (folder / "default-key.pem").unlink(),
            lambda folder: (folder / "default-cert.pem").write_bytes(b""),
            lambda folder: (folder / "default-key.pem").write_bytes(b"garbage"),
            lambda folder: encrypt(folder / "default-key.pem"),
        ],
        ids=["no certificate", "no key", "empty certificate", "garbage key", "encrypted key"],
    )
    def test_one_that_does_not_work_is_replaced(self, tmp_path: Path, harm: Callable[[Path], object]) -> None:
        """Nothing is lost: nobody else uses it."""
        default_certificate(tmp_path)
        harm(tmp_path)
        made = default_certificate(tmp_path)

        assert loads(made.cert_file, made.key_file)

    def test_a_certificate_with_a_key_of_another_is_replaced(self, tmp_path: Path) -> None:
        """A Hub that was killed between writing the key and the certificate leaves such a pair."""
        (tmp_path / "other").mkdir()
        default_certificate(tmp_path)
        other = default_certificate(tmp_path / "other")
        shutil.copy(other.key_file, tmp_path / "default-key.pem")
        made = default_certificate(tmp_path)

        assert loads(made.cert_file, made.key_file)

    def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        """Nobody can choose where the key is written."""
        precious = tmp_path / "precious"
        precious.write_text("precious")
        (tmp_path / "default-key.pem").symlink_to(precious)
        default_certificate(tmp_path)

        assert precious.read_text() == "precious"
        assert not (tmp_path / "default-key.pem").is_symlink()

    def test_a_folder_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        """The ConfigurationError names the file and the trait."""
        (tmp_path / "default-key.pem").mkdir()
        with pytest.raises(ConfigurationError, match=r"default-key\.pem.*state_dir"):
            default_certificate(tmp_path)


class TestAdmins:
    """JupyterHub.ssl_cert and ssl_key."""

    def test_a_valid_pair_is_returned_with_absolute_paths(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Traefik's working directory is not the Hub's."""
        default_certificate(tmp_path)
        monkeypatch.chdir(tmp_path)
        checked = checked_certificate("default-cert.pem", "default-key.pem")

        assert checked.cert_file == str(tmp_path / "default-cert.pem")
        assert checked.key_file == str(tmp_path / "default-key.pem")

    def test_both_may_be_in_one_file(self, tmp_path: Path) -> None:
        """Without ssl_key, the key is expected in the certificate's file."""
        made = default_certificate(tmp_path)
        both = tmp_path / "both.pem"
        both.write_bytes(Path(made.cert_file).read_bytes() + Path(made.key_file).read_bytes())
        checked = checked_certificate(str(both), "")

        assert (checked.cert_file, checked.key_file) == (str(both), str(both))

    @pytest.mark.parametrize(
        ("harm", "reason"),
        [
            (lambda folder: (folder / "default-cert.pem").unlink(), "No such file"),
            (lambda folder: (folder / "default-key.pem").unlink(), "No such file"),
            (lambda folder: (folder / "default-cert.pem").write_bytes(b"garbage"), "cannot be used"),
            (lambda folder: encrypt(folder / "default-key.pem"), "the key is encrypted"),
        ],
        ids=["no certificate", "no key", "garbage", "encrypted"],
    )
    def test_a_pair_that_cannot_work_is_an_error(
        self, tmp_path: Path, harm: Callable[[Path], object], reason: str
    ) -> None:
        """It names both files and both traits; Traefik itself would silently serve another certificate."""
        default_certificate(tmp_path)
        harm(tmp_path)
        with pytest.raises(ConfigurationError, match=reason) as caught:
            checked_certificate(str(tmp_path / "default-cert.pem"), str(tmp_path / "default-key.pem"))

        for part in ("default-cert.pem", "default-key.pem", "c.JupyterHub.ssl_cert", "ssl_key"):
            assert part in str(caught.value)

    def test_a_certificate_with_a_key_of_another_is_an_error(self, tmp_path: Path) -> None:
        """Traefik would silently serve another certificate."""
        (tmp_path / "other").mkdir()
        made = default_certificate(tmp_path)
        other = default_certificate(tmp_path / "other")
        with pytest.raises(ConfigurationError, match="cannot be used"):
            checked_certificate(made.cert_file, other.key_file)


@pytest.mark.parametrize(
    ("dns_names", "name"),
    [
        (["hub.example.org", "other.example.org"], "hub.example.org"),
        (["*.example.org", "hub.example.com"], "hub.example.com"),
        (["*.example.org"], "hub.example.org"),
        ([], None),
    ],
)
def test_the_name_of_a_certificate_is_one_that_can_be_asked_for(
    tmp_path: Path, dns_names: list[str], name: str | None
) -> None:
    """The common name does not count, as in a browser, and a wildcard stands for any name."""
    pair = make_certificate(tmp_path, "hub.example.net", dns_names=dns_names)

    assert checked_certificate(str(pair.cert), str(pair.key)).server_name == name


@pytest.mark.parametrize(("common", "name"), [("hub.example.net", "hub.example.net"), ("My Hub", None)])
def test_without_other_names_the_common_name_counts(tmp_path: Path, common: str, name: str | None) -> None:
    """As it does in Traefik."""
    pair = make_certificate(tmp_path, common, dns_names=[], addresses=[])

    assert checked_certificate(str(pair.cert), str(pair.key)).server_name == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://127.0.0.1:443", "hub.example.org"),
        ("https://[::1]:443", "hub.example.org"),
        ("https://localhost:443", "hub.example.org"),
        ("https://mine.example.org", None),
    ],
)
def test_the_name_is_asked_for_where_the_url_has_none(url: str, name: str | None) -> None:
    """A name in the URL is what to ask for."""
    assert name_to_ask_for(url, Certificate("/c.pem", "/k.pem", "hub.example.org")) == name
    assert name_to_ask_for(url, None) is None
