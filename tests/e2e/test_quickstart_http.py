"""The quickstart as a person uses it, over HTTP alone: log in, run code, stop the server."""

from __future__ import annotations

import json
import time
import uuid
from urllib.parse import quote, urlsplit

import pytest
import requests
import websocket
from support.hub import RunningHub
from support.waiting import PATIENCE

WHAT_TO_RUN = "print('six times seven is', 6 * 7)"


class Person:
    """Somebody with a browser that has no screen."""

    def __init__(self, hub: RunningHub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.home = f"/user/{quote(name, safe='@~')}/"
        self.session = requests.Session()

    def log_in(self) -> None:
        """Fill in the form; the Hub starts the server and sends us on to it."""
        self.session.get(f"{self.hub.url}/hub/login", timeout=30).raise_for_status()
        form = {"username": self.name, "password": "", "_xsrf": self.xsrf("/hub/")}
        self.session.post(f"{self.hub.url}/hub/login", data=form, timeout=60).raise_for_status()

    def open_lab(self) -> requests.Response:
        """Look again until JupyterLab's page is there, as the page with the progress bar does."""
        deadline = time.monotonic() + 60 * PATIENCE
        while True:
            page = self.session.get(f"{self.hub.url}{self.home}lab", timeout=60)
            if page.ok and urlsplit(page.url).path.startswith(self.home):
                return page
            assert time.monotonic() < deadline, f"{page.status_code} {page.url}"
            time.sleep(0.1)

    def xsrf(self, path: str) -> str:
        """The token that belongs to the cookie for ``path``."""
        return next(
            str(cookie.value) for cookie in self.session.cookies if cookie.name == "_xsrf" and cookie.path == path
        )

    def ask(self, method: str, path: str, home: str) -> requests.Response:
        """Call an API of the Hub or of the server, as the page from there does."""
        headers = {"X-XSRFToken": self.xsrf(home), "Referer": f"{self.hub.url}{home}"}
        return self.session.request(method, f"{self.hub.url}{path}", headers=headers, timeout=60)

    def run(self, code: str) -> str:
        """Run code in a new kernel, over a websocket; return what it prints."""
        kernel = self.ask("POST", f"{self.home}api/kernels", self.home).json()["id"]
        where = f"{self.hub.url}{self.home}api/kernels/{kernel}/channels".replace("http:", "ws:", 1)
        request = requests.Request("GET", where.replace("ws:", "http:", 1))
        cookie = self.session.prepare_request(request).headers["Cookie"]
        channels = websocket.create_connection(where, timeout=60, cookie=cookie, origin=self.hub.url)
        try:
            content = {"code": code, "silent": False, "store_history": False, "stop_on_error": True}
            header = {
                "msg_id": uuid.uuid4().hex,
                "msg_type": "execute_request",
                "username": "",
                "session": "",
                "version": "5.3",
            }
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
            channels.send(json.dumps(message))
            while True:
                answer = json.loads(channels.recv())
                if answer["msg_type"] == "stream":
                    return str(answer["content"]["text"])
        finally:
            channels.close()

    def stop_server(self) -> None:
        """Press "Stop My Server", and wait until it has stopped."""
        me = f"/hub/api/users/{quote(self.name)}"
        assert self.ask("DELETE", f"{me}/server", "/hub/").status_code in (202, 204)
        deadline = time.monotonic() + 30 * PATIENCE
        while self.ask("GET", me, "/hub/").json()["servers"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("name", ["alice", "o'neil {{x}}@example.org"])
def test_a_person_logs_in_runs_code_and_stops_the_server(hub: RunningHub, name: str) -> None:
    """From the login form to the output of a cell, and back to the Hub's page, all through Traefik."""
    person = Person(hub, name)

    person.log_in()
    assert "jupyter-config-data" in person.open_lab().text
    assert person.run(WHAT_TO_RUN) == "six times seven is 42\n"

    person.stop_server()
    page = person.session.get(f"{hub.url}{person.home}lab", timeout=60)
    assert urlsplit(page.url).path.startswith("/hub/")
