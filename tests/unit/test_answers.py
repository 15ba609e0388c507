"""What the answers of an entry point mean, and what an admin is told to do."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.runtime.answers import (
    Refusals,
    answered_other_scheme,
    failed_handshake,
    no_answer,
    nothing_is_loaded,
    other_scheme,
    read_response,
)
from traefik_toml_proxy.seams import Answer
from traefik_toml_proxy.traefik.dynamic import REVISION_HEADER

URL = "https://127.0.0.1:8000"
SECRET = "0123456789abcdef" * 2


def told(answer: Answer) -> str:
    """Return all that an admin reads."""
    return f"{answer.description}. {answer.advice}"


class TestResponses:
    """What a status and its headers say."""

    def test_our_revision_is_read(self) -> None:
        """Nothing else counts, not even the status."""
        answer = read_response(URL, 500, {REVISION_HEADER: "17"})

        assert (answer.revision, answer.answered, answer.refused) == (17, True, False)
        assert answer.description == f"{URL} serves revision 17"

    @pytest.mark.parametrize("status", [200, 301, 302, 307, 400, 401, 403, 407, 418, 421, 451])
    def test_an_answer_of_something_else_is_a_refusal(self, status: int) -> None:
        """A login page or a redirect is there to stay."""
        answer = read_response(URL, status, {})

        assert (answer.revision, answer.answered, answer.refused) == (None, True, True)
        assert f"{URL} answered {status}" in answer.description

    @pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503, 504])
    def test_an_answer_that_may_change_is_none(self, status: int) -> None:
        """Traefik answers 404 until it has loaded a configuration, and a server that is asked may be starting."""
        answer = read_response(URL, status, {})

        assert (answer.revision, answer.answered, answer.refused) == (None, True, False)

    @pytest.mark.parametrize("status", [200, 302, 401, 403, 407, 418, 500])
    def test_the_trait_that_helps_is_named(self, status: int) -> None:
        """A middleware of the entry point can be moved to the routes."""
        assert "c.TraefikProxy.route_middlewares" in told(read_response(URL, status, {}))

    @pytest.mark.parametrize(
        ("status", "word"),
        [(401, "basicAuth"), (403, "ipAllowList"), (302, "traefik_url"), (404, "log"), (500, "asks")],
    )
    def test_the_usual_cause_is_named(self, status: int, word: str) -> None:
        """Each status has its own advice."""
        assert word in read_response(URL, status, {}).advice

    def test_a_redirect_says_where_to(self) -> None:
        """Without the query and credentials, which may be secret, and without the path that is secret for sure."""
        location = f"https://ada:pw@hub.example.org/auth/{SECRET}/revision?token=t#f"
        answer = read_response(URL, 302, {"Location": location, "Server": "nginx\n"})

        assert answer.description == (
            f"{URL} answered 302 (Found) to 'https://hub.example.org/auth/.../revision' by 'nginx\\n', without our revision"
        )

    def test_a_redirect_to_nowhere(self) -> None:
        """A Location that is no URL is not shown."""
        assert "to an invalid URL" in read_response(URL, 302, {"Location": "http://[x"}).description

    def test_a_status_without_a_name(self) -> None:
        """Servers may make up their own."""
        assert f"{URL} answered 299, without" in read_response(URL, 299, {}).description


class TestSilence:
    """No HTTP response at all."""

    def test_the_reason_is_told(self) -> None:
        """It is no refusal: Traefik may be starting."""
        answer = no_answer(URL, "refused")

        assert (answer.revision, answer.answered, answer.refused) == (None, False, False)
        assert answer.description == f"no answer from {URL}: refused"

    def test_tls_in_place_of_a_status_line(self) -> None:
        """The URL has the wrong scheme."""
        answer = no_answer("http://hub:1", "\x15\x03\x01\x00\x02\x02P")

        assert answer.refused
        assert "begin c.TraefikProxy.traefik_url" in answer.advice
        assert "with https://" in answer.advice


class TestHandshakes:
    """What OpenSSL's errors say."""

    @pytest.mark.parametrize(
        ("reason", "word"),
        [
            ("TLSV1_UNRECOGNIZED_NAME", "sniStrict"),
            ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "clientAuth"),
            ("SSLV3_ALERT_HANDSHAKE_FAILURE", "clientAuth"),
            ("SSLV3_ALERT_BAD_CERTIFICATE", "clientAuth"),
            ("TLSV1_ALERT_INTERNAL_ERROR", "the certificate"),
        ],
    )
    def test_an_alert_is_a_refusal(self, reason: str, word: str) -> None:
        """The alert is in the message, and what may be set."""
        answer = failed_handshake(URL, "hub.example.org", reason)

        assert (answer.revision, answer.answered, answer.refused) == (None, True, True)
        assert word in answer.advice
        assert reason.lower().replace("_", " ") in answer.description
        assert "'hub.example.org'" in answer.description

    def test_a_connection_that_ends_is_none(self) -> None:
        """That happens while Traefik is starting."""
        answer = failed_handshake(URL, "hub", "UNEXPECTED_EOF_WHILE_READING")

        assert (answer.answered, answer.refused) == (True, False)
        assert "refuses new TLS connections (unexpected eof while reading)" in answer.description

    @pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"])
    def test_an_answer_without_tls(self, reason: str) -> None:
        """The URL has the wrong scheme."""
        answer = failed_handshake(URL, "hub", reason)

        assert answer.refused
        assert "speaks plain http" in answer.advice
        assert "with http://" in answer.advice


class TestSchemes:
    """The same place under the other scheme."""

    @pytest.mark.parametrize(("url", "other"), [("http://a:1", "https://a:1"), ("https://a:1", "http://a:1")])
    def test_the_other_scheme(self, url: str, other: str) -> None:
        """All else stays the same."""
        assert other_scheme(url) == other

    def test_what_it_means_that_the_other_one_works(self) -> None:
        """Both answers are told, and what to set."""
        answer = answered_other_scheme(read_response(URL, 404, {}), URL)

        assert answer.refused
        assert f"{URL} answered 404" in answer.description
        assert f"but {other_scheme(URL)} serves our routes" in answer.description
        assert "with http://" in answer.advice

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (read_response(URL, 404, {}), True),
            (read_response(URL, 503, {}), False),
            (read_response(URL, 404, {REVISION_HEADER: "1"}), False),
            (no_answer(URL, "refused"), False),
        ],
    )
    def test_when_the_other_one_may_work(self, answer: Answer, expected: bool) -> None:
        """Traefik answers 404 to the wrong scheme."""
        assert nothing_is_loaded(answer) == expected


class TestRefusals:
    """When nothing else will come."""

    REFUSAL = read_response(URL, 401, {})
    NOT_YET = read_response(URL, 404, {})
    SILENCE = no_answer(URL, "refused")

    def test_it_is_certain_once_it_has_lasted(self) -> None:
        """The last refusal is kept."""
        refusals = Refusals(1)
        refusals.add(self.REFUSAL, 10)
        refusals.add(self.REFUSAL, 10.9)
        assert refusals.certain is None
        refusals.add(read_response(URL, 403, {}), 11)

        assert refusals.certain == read_response(URL, 403, {})

    def test_another_answer_begins_anew(self) -> None:
        """It has to last without interruption."""
        refusals = Refusals(1)
        for answer, now in ((self.REFUSAL, 10), (self.NOT_YET, 10.5), (self.REFUSAL, 11), (self.REFUSAL, 11.5)):
            refusals.add(answer, now)

        assert refusals.certain is None

    def test_silence_is_no_interruption(self) -> None:
        """A refused handshake may look like a closed connection."""
        refusals = Refusals(1)
        for answer, now in ((self.SILENCE, 9), (self.REFUSAL, 10), (self.SILENCE, 10.5), (self.REFUSAL, 11)):
            refusals.add(answer, now)

        assert refusals.certain == self.REFUSAL

    def test_a_silence_that_has_only_just_begun_is_not_the_outcome(self) -> None:
        """It says nothing about who answers there. A longer one does, and so does one without anything before."""
        refusals = Refusals(None)
        assert refusals.outcome(self.SILENCE, 9) == self.SILENCE
        refusals.add(self.NOT_YET, 10)
        refusals.add(self.SILENCE, 10.5)

        assert refusals.outcome(self.SILENCE, 10.9) == self.NOT_YET
        assert refusals.outcome(self.REFUSAL, 10.9) == self.REFUSAL
        assert refusals.outcome(self.SILENCE, 11.1) == self.SILENCE

    def test_without_a_limit_it_is_never_certain(self) -> None:
        """The caller waits as long as it has time."""
        refusals = Refusals(None)
        refusals.add(self.REFUSAL, 10)
        refusals.add(self.REFUSAL, 1e9)

        assert refusals.certain is None
