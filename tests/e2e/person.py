"""A person with a browser without a screen: cookies, redirects, forms, API calls and websockets."""

from __future__ import annotations

import email.message
import json
import re
import ssl
import urllib.request
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from http.cookiejar import CookieJar
from typing import Any, cast
from urllib.parse import quote, urlencode, urljoin

from support.waiting import eventually
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import websocket_connect

_MOST_REDIRECTS = 20
_ONE_REQUEST_SECONDS = 60
_REDIRECTS = {301, 302, 303, 307, 308}
_FORM_TOKEN = re.compile(r'<input[^>]*name="_xsrf"[^>]*value="([^"]+)"')


class _Headers:
    """A response in the form that CookieJar expects."""

    def __init__(self, response: HTTPResponse) -> None:
        self._message = email.message.Message()
        for name, value in response.headers.get_all():
            self._message[name] = value

    def info(self) -> email.message.Message:
        return self._message


class Person:
    """Somebody with a name who uses JupyterHub through its public URL."""

    def __init__(self, hub_url: str, name: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Use JupyterHub with a new browser profile; nobody is logged in.

        Args:
            hub_url: The public URL, without a slash at the end.
            name: What is typed into the login form.
            tls: Whom to trust if the URL is https.
        """
        self.name = name
        self.server = f"/user/{quote(name, safe='@~')}"
        self._hub_url = hub_url
        self._tls = tls
        self._cookies = CookieJar()
        self._client = AsyncHTTPClient(force_instance=True)

    async def aclose(self) -> None:
        """Close the connections."""
        self._client.close()

    async def open(self, path: str, form: Mapping[str, str] | None = None) -> HTTPResponse:
        """Open a page, or send a form; returns the response after all redirects."""
        url = urljoin(self._hub_url, path)
        headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
        response = await self._send(url, headers, body=None if form is None else urlencode(form))
        for _ in range(_MOST_REDIRECTS):
            if response.code not in _REDIRECTS:
                return response
            url = urljoin(url, response.headers["Location"])
            response = await self._send(url, headers)
        raise AssertionError(f"more than {_MOST_REDIRECTS} redirects, at last to {url}")

    async def call(self, method: str, path: str, body: Any = None) -> HTTPResponse:
        """Call a REST API, as a script in a page does."""
        url = urljoin(self._hub_url, path)
        headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "X-XSRFToken": self._xsrf_token(url)}
        return await self._send(url, headers, method=method, body=None if body is None else json.dumps(body))

    async def log_in(self, *, then: str = "") -> HTTPResponse:
        """Fill in and send the login form; returns the next page, which waits for the server.

        Args:
            then: The next page instead; no server is started.
        """
        page = await self.open("/hub/login")
        token = _FORM_TOKEN.search(page.body.decode())
        assert token, page.body.decode()
        form = {"_xsrf": token[1], "username": self.name, "password": ""}
        return await self.open("/hub/login?" + urlencode({"next": then}), form)

    async def wait_for_server(self) -> str:
        """Wait for the end of the progress bar; returns the URL of the server."""
        response = await self.call("GET", f"/hub/api/users/{quote(self.name, safe='@~')}/server/progress")
        events = [json.loads(line[6:]) for line in response.body.decode().splitlines() if line.startswith("data: ")]
        assert events, response
        assert events[-1].get("ready"), events
        return str(events[-1]["url"])

    async def start_kernel(self) -> str:
        """Start a Python kernel; returns its id."""
        response = await self.call("POST", f"{self.server}/api/kernels", {"name": "python3"})
        assert response.code == HTTPStatus.CREATED, (response, response.body)
        return str(json.loads(response.body)["id"])

    async def run(self, kernel: str, code: str) -> str:
        """Run code in a kernel, over a websocket; returns its output."""
        url = urljoin(self._hub_url, f"{self.server}/api/kernels/{kernel}/channels")
        headers = {"Cookie": self._cookie_header(url), "Origin": self._hub_url}
        request = HTTPRequest(
            "ws" + url.removeprefix("http"),
            headers=headers,
            connect_timeout=_ONE_REQUEST_SECONDS,
            ssl_options=self._tls,
        )
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": uuid.uuid4().hex,
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        connection = await websocket_connect(request)
        printed: list[str] = []
        try:
            await connection.write_message(json.dumps(message))
            while (said := await connection.read_message()) is not None:
                answer = json.loads(said)
                if answer["parent_header"].get("msg_id") == header["msg_id"]:
                    printed.append(answer["content"].get("text", ""))
                    if answer["content"].get("execution_state") == "idle":
                        return "".join(printed)
        finally:
            connection.close()
        raise AssertionError(f"the websocket was closed; printed until then: {printed!r}")

    async def stop_server(self) -> None:
        """Stop the server, as the button on the Hub's page does, and wait until it has ended."""
        me = f"/hub/api/users/{quote(self.name, safe='@~')}"
        await self.open("/hub/home")
        response = await self.call("DELETE", f"{me}/server")
        assert response.code in {HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT}, (response, response.body)

        async def stopped() -> bool:
            model = json.loads((await self.call("GET", me)).body)
            return model["server"] is None and model["pending"] is None

        await eventually(stopped, within=20, what="the end of the server")

    async def _send(
        self, url: str, headers: Mapping[str, str], *, method: str | None = None, body: str | None = None
    ) -> HTTPResponse:
        cookies = self._cookie_header(url)
        response = await self._client.fetch(
            HTTPRequest(
                url,
                method or ("GET" if body is None else "POST"),
                headers={**headers, **({"Cookie": cookies} if cookies else {})},
                body=body,
                follow_redirects=False,
                request_timeout=_ONE_REQUEST_SECONDS,
                allow_nonstandard_methods=True,
                ssl_options=self._tls,
            ),
            raise_error=False,
        )
        self._cookies.extract_cookies(cast(Any, _Headers(response)), urllib.request.Request(url))
        return response

    def _cookie_header(self, url: str) -> str:
        request = urllib.request.Request(url)
        self._cookies.add_cookie_header(request)
        return request.get_header("Cookie", "")

    def _xsrf_token(self, url: str) -> str:
        """Return the token that a script on the page finds in its cookies: the one with the longest matching path."""
        match = re.search(r"(?:^|; )_xsrf=([^;]+)", self._cookie_header(url))
        return match[1] if match else ""
