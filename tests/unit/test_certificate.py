"""Certificates for Traefik: the check of the admin's own, a self-signed default, and the copies that Traefik reads."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from support.certificates import Pair as MadePair
from support.certificates import make_certificate

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.runtime.certificate import (
    PairFiles,
    ServedCertificate,
    admins_pair,
    default_pair,
    name_to_ask_for,
    write_served,
)
from traefik_toml_proxy.runtime.pairs import UnusablePair
from traefik_toml_proxy.traefik.dynamic import Certificate


@pytest.fixture
def made(tmp_path: Path) -> MadePair:
    """The admin's certificate and key."""
    return make_certificate(tmp_path, "hub")


def files_of(made: MadePair, passphrase: str = "") -> PairFiles:
    return PairFiles(made.cert, made.key, passphrase)


def loads(served: ServedCertificate) -> bool:
    """Whether the files that are named now belong together."""
    current = served.current()
    assert current is not None
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(current.cert_file, current.key_file)
    return True


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def replace_by_one_without_a_name(folder: Path) -> None:
    """Put another pair in the place of the default one, as earlier versions made it."""
    other = make_certificate(folder / "..", "an earlier version", dns_names=[], addresses=[])
    other.cert.replace(folder / "default-cert.pem")
    other.key.replace(folder / "default-key.pem")


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


class TestAdmins:
    """JupyterHub.ssl_cert and ssl_key."""

    def test_a_pair_that_fits_is_returned(self, made: MadePair) -> None:
        """With its whole chain and its dates."""
        other = make_certificate(made.cert.parent, "authority")
        made.cert.write_bytes(b"Bag Attributes\n" + made.cert.read_bytes() + b"subject=x\n" + other.cert.read_bytes())
        pair = admins_pair(files_of(made))
        leaf, *rest = x509.load_pem_x509_certificates(pair.chain)

        assert (pair.not_before, pair.not_after) == (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
        assert rest == [x509.load_pem_x509_certificate(other.cert.read_bytes())]
        assert pair.key == made.key.read_bytes()

    def test_both_may_be_in_one_file(self, made: MadePair) -> None:
        """In either order; the file is read once, so the two are of one version."""
        for text in (
            made.cert.read_bytes() + made.key.read_bytes(),
            made.key.read_bytes() + made.cert.read_bytes(),
        ):
            both = made.cert.with_name("both.pem")
            both.write_bytes(text)

            assert admins_pair(PairFiles(both, both)).chain == made.cert.read_bytes()

    def test_a_key_may_have_parameters_before_it(self, made: MadePair) -> None:
        """As openssl ecparam writes it."""
        made.key.write_bytes(
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + made.key.read_bytes()
        )

        assert admins_pair(files_of(made)).key in made.key.read_bytes()

    @pytest.mark.parametrize("traditional", [False, True])
    def test_an_encrypted_key_is_opened_with_the_passphrase(self, made: MadePair, traditional: bool) -> None:
        """In the forms of today and of old; Traefik gets it opened."""
        plain = made.key.read_bytes()
        form = {True: serialization.PrivateFormat.TraditionalOpenSSL, False: serialization.PrivateFormat.PKCS8}
        key = serialization.load_pem_private_key(plain, None)
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, form[traditional], serialization.BestAvailableEncryption(b"secret")
            )
        )

        assert admins_pair(files_of(made, "secret")).key == plain

    def test_a_passphrase_that_is_not_needed_is_no_error(self, made: MadePair) -> None:
        """As in configurable-http-proxy."""
        assert admins_pair(files_of(made, "secret")).key == made.key.read_bytes()

    @pytest.mark.parametrize(
        ("harm", "reason"),
        [
            (lambda made: made.cert.unlink(), r"hub\.crt cannot be read \(No such file or directory\)"),
            (lambda made: made.key.unlink(), r"hub\.key cannot be read \(No such file or directory\)"),
            (lambda made: (made.key.unlink(), made.key.mkdir()), r"hub\.key cannot be read \(Is a directory\)"),
            (lambda made: made.cert.write_bytes(b"\n"), r"hub\.crt is empty"),
            (lambda made: made.key.write_bytes(b""), r"hub\.key is empty"),
            (lambda made: made.cert.write_bytes(b"\x00\xff"), r"there is no certificate in .*hub\.crt"),
            (lambda made: made.key.write_bytes(b"garbage"), r"there is no key in .*hub\.key"),
            (lambda made: made.key.write_bytes(made.key.read_bytes()[:-40]), r"there is no key in .*hub\.key"),
            (lambda made: _garble(made.cert), r"a certificate in .*hub\.crt is damaged"),
            (lambda made: _garble(made.key), r"the key in .*hub\.key is damaged"),
            (lambda made: encrypt(made.key), "the key is encrypted in .*CONFIGPROXY_SSL_KEY_PASSPHRASE is not set"),
            (lambda made: made.cert.write_bytes(b"x" * 2**21), r"hub\.crt is larger"),
        ],
        ids=[
            *(
                "no certificate",
                "no key",
                "a folder",
                "empty certificate",
                "empty key",
                "garbage",
                "garbage key",
                "cut",
            ),
            *("damaged certificate", "damaged key", "encrypted", "endless"),
        ],
    )
    def test_a_pair_that_cannot_work_is_an_error(
        self, made: MadePair, harm: Callable[[MadePair], object], reason: str
    ) -> None:
        """It says what is wrong with which file, and names both traits; Traefik would silently serve another certificate."""
        harm(made)
        with pytest.raises(ConfigurationError, match=reason) as caught:
            admins_pair(files_of(made))

        for part in ("hub.crt", "hub.key", "c.JupyterHub.ssl_cert", "ssl_key"):
            assert part in str(caught.value)

    def test_a_wrong_passphrase_is_an_error_that_does_not_show_it(self, made: MadePair) -> None:
        """It names the variable and the file."""
        encrypt(made.key)
        files = files_of(made, "guessed wrong")
        with pytest.raises(UnusablePair, match=r"hub\.key cannot be opened .*CONFIGPROXY_SSL_KEY_PASSPHRASE") as caught:
            files.pair(files.read())

        assert "guessed" not in f"{caught.value} {files!r}"

    def test_a_certificate_with_a_key_of_another_is_an_error(self, made: MadePair) -> None:
        """As in the middle of a renewal."""
        other = make_certificate(made.cert.parent, "other")
        with pytest.raises(ConfigurationError, match=r"key in .*other\.key is not the key of .* in .*hub\.crt"):
            admins_pair(PairFiles(made.cert, other.key))

    def test_the_certificate_comes_before_its_authority(self, made: MadePair) -> None:
        """Go takes the first one (crypto/tls, X509KeyPair)."""
        authority = make_certificate(made.cert.parent, "authority")
        made.cert.write_bytes(authority.cert.read_bytes() + made.cert.read_bytes())
        with pytest.raises(UnusablePair, match="is not the key of the first certificate"):
            files_of(made).pair(files_of(made).read())

    @pytest.mark.parametrize(
        ("make", "accepted"),
        [
            (lambda: ec.generate_private_key(ec.SECP521R1()), True),
            (lambda: rsa.generate_private_key(65537, 2048), True),
            (ed25519.Ed25519PrivateKey.generate, True),
            (ed448.Ed448PrivateKey.generate, False),
            (lambda: ec.generate_private_key(ec.SECP256K1()), False),
            (lambda: ec.generate_private_key(ec.SECP224R1()), False),
        ],
        ids=["P-521", "RSA", "Ed25519", "Ed448", "secp256k1", "P-224"],
    )
    def test_keys_that_traefik_does_not_know_are_refused(
        self, made: MadePair, make: Callable[[], ec.EllipticCurvePrivateKey], accepted: bool
    ) -> None:
        """With such a key every handshake would fail."""
        made.key.write_bytes(
            make().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        with pytest.raises(UnusablePair, match={True: "is not the key of", False: "Traefik cannot use"}[accepted]):
            files_of(made).pair(files_of(made).read())


class TestDefault:
    """With a default certificate, Traefik does not generate a key at each reload."""

    def test_it_is_small_and_valid_for_years(self, tmp_path: Path) -> None:
        """An elliptic curve is fast, and a clock that is a little off does no harm."""
        made = x509.load_pem_x509_certificate(default_pair(tmp_path).chain)
        now = datetime.now(timezone.utc)

        assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)
        assert made.not_valid_before_utc < now - timedelta(hours=12)
        assert made.not_valid_after_utc > now + timedelta(days=3000)

    def test_it_is_kept(self, tmp_path: Path) -> None:
        """The next start uses the same one, so a browser that has accepted it does not ask again."""
        first = default_pair(tmp_path)
        before = contents(tmp_path)

        assert default_pair(tmp_path) == first
        assert contents(tmp_path) == before

    def test_it_is_private(self, tmp_path: Path) -> None:
        """Key and certificate are 0600, whatever the umask."""
        before = os.umask(0)
        default_pair(tmp_path)
        os.umask(before)

        assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600, 0o600]

    @pytest.mark.parametrize(
        "harm",
        [
            lambda folder: (folder / "default-cert.pem").unlink(),
            lambda folder: (folder / "default-key.pem").unlink(),
            lambda folder: (folder / "default-cert.pem").write_bytes(b""),
            lambda folder: (folder / "default-key.pem").write_bytes(b"garbage"),
            lambda folder: encrypt(folder / "default-key.pem"),
            lambda folder: replace_by_one_without_a_name(folder),
        ],
        ids=["no certificate", "no key", "empty certificate", "garbage key", "encrypted key", "no name"],
    )
    def test_one_that_does_not_work_is_replaced(self, tmp_path: Path, harm: Callable[[Path], object]) -> None:
        """Nothing is lost: nobody else uses it."""
        before = default_pair(tmp_path)
        harm(tmp_path)

        assert default_pair(tmp_path) not in (before, None)

    def test_a_certificate_with_a_key_of_another_is_replaced(self, tmp_path: Path) -> None:
        """A Hub that was killed between writing the key and the certificate leaves such a pair."""
        (tmp_path / "other").mkdir()
        default_pair(tmp_path)
        default_pair(tmp_path / "other")
        shutil.copy(tmp_path / "other" / "default-key.pem", tmp_path / "default-key.pem")

        assert default_pair(tmp_path) == default_pair(tmp_path)

    def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        """Nobody can choose where the key is written."""
        precious = tmp_path / "precious"
        precious.write_text("precious")
        (tmp_path / "default-key.pem").symlink_to(precious)
        default_pair(tmp_path)

        assert precious.read_text() == "precious"
        assert not (tmp_path / "default-key.pem").is_symlink()

    def test_a_folder_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        """The ConfigurationError names the file and the trait."""
        (tmp_path / "default-key.pem").mkdir()
        with pytest.raises(ConfigurationError, match=r"default-key\.pem.*state_dir"):
            default_pair(tmp_path)


class TestServed:
    """The copies that Traefik reads."""

    def test_without_a_certificate_nothing_is_named_or_written(self, tmp_path: Path) -> None:
        """An outside Traefik has its own."""
        served = ServedCertificate(tmp_path / "copies")
        write_served(served)
        served.forget_others()

        assert served.current() is None
        assert not (tmp_path / "copies").exists()

    def test_the_copies_work_and_are_private(self, tmp_path: Path, made: MadePair) -> None:
        """Key and certificate are 0600 in a folder of their own, whatever the umask, and the key is not encrypted."""
        encrypt(made.key)
        folder = tmp_path / "new" / "copies"
        served = ServedCertificate(folder)
        before = os.umask(0)
        served.use(admins_pair(files_of(made, "secret")))
        write_served(served)
        os.umask(before)

        assert loads(served)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, *folder.iterdir())]
        assert modes == [0o700, 0o700, 0o600, 0o600]

    def test_another_pair_has_other_names_and_the_first_stays_until_it_is_not_needed(
        self, tmp_path: Path, made: MadePair
    ) -> None:
        """Traefik may read the first one until the second is live. What an earlier Hub left goes as well."""
        served = ServedCertificate(tmp_path / "copies")
        first, second = admins_pair(files_of(made)), admins_pair(files_of(make_certificate(tmp_path, "second")))
        served.use(first)
        write_served(served)
        old = names(tmp_path / "copies")
        served.use(second)
        write_served(served)
        (tmp_path / "copies" / f"{'0' * 32}-key.pem.12345678").write_bytes(b"left by a Hub that was killed")
        (tmp_path / "copies" / "notes.txt").write_text("of the admin")
        unfinished = f"{second.digest}-key.pem.12345678"
        (tmp_path / "copies" / unfinished).write_bytes(b"being written in another thread")

        assert loads(served)
        assert set(old) < set(names(tmp_path / "copies"))

        served.forget_others()

        assert loads(served)
        assert names(tmp_path / "copies") == sorted(
            [f"{second.digest}-cert.pem", f"{second.digest}-key.pem", unfinished, "notes.txt"]
        )

    def test_a_key_of_its_own_makes_another_name(self, made: MadePair) -> None:
        """As well as a certificate of its own: a pair is a pair."""
        pair = admins_pair(files_of(made))

        assert len({pair.digest, replace(pair, chain=b"other").digest, replace(pair, key=b"other").digest}) == 3
        assert "PRIVATE" not in repr(pair)

    @pytest.mark.parametrize(
        "harm",
        [Path.unlink, lambda key: key.write_bytes(b""), lambda key: key.chmod(0o644)],
        ids=["gone", "empty", "mode"],
    )
    def test_what_others_do_to_the_copies_is_seen_and_mended(
        self, tmp_path: Path, made: MadePair, harm: Callable[[Path], object]
    ) -> None:
        """It is no damage before the first writing: until then there is nothing."""
        served = ServedCertificate(tmp_path / "copies")
        served.use(admins_pair(files_of(made)))
        assert served.files.damage() is None
        write_served(served)
        assert served.files.damage() is None
        current = served.current()
        assert current is not None
        key = Path(current.key_file)
        harm(key)

        assert (served.files.damage() or "").startswith(f"needs {key}, which was ")

        write_served(served)
        assert served.files.damage() is None
        assert loads(served)

    def test_a_folder_that_cannot_be_written_is_an_error(self, tmp_path: Path, made: MadePair) -> None:
        """It names the file and the traits."""
        (tmp_path / "copies").write_text("a file")
        served = ServedCertificate(tmp_path / "copies")
        served.use(admins_pair(files_of(made)))
        with pytest.raises(ConfigurationError, match=r"copies: .*-cert\.pem.*state_dir"):
            write_served(served)


def _garble(file: Path) -> None:
    """Change a few characters in the middle; it still looks like PEM."""
    lines = file.read_bytes().split(b"\n")
    lines[1] = b"A" * len(lines[1])
    file.write_bytes(b"\n".join(lines))


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

    assert admins_pair(files_of(pair)).server_name == name


@pytest.mark.parametrize(("common", "name"), [("hub.example.net", "hub.example.net"), ("My Hub", None)])
def test_without_other_names_the_common_name_counts(tmp_path: Path, common: str, name: str | None) -> None:
    """As it does in Traefik."""
    pair = make_certificate(tmp_path, common, dns_names=[], addresses=[])

    assert admins_pair(files_of(pair)).server_name == name


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
