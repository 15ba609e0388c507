"""conformance.ports: a port that was free is not given to somebody else before somebody listens there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from traefik_toml_proxy.conformance.ports import free_ports


def test_ports_are_free_and_come_round() -> None:
    """One that is taken meanwhile is passed over."""
    first = free_ports(100)
    with socket.create_server(("127.0.0.1", first[3])):
        second = free_ports(3)
        third = free_ports(1)

    assert len(set(first)) == 100
    assert [*second, *third] == [*first[:3], first[4]]


def test_the_kernel_gives_none_of_them_to_others() -> None:
    """Thousands of sockets that ask for any port get others."""
    mine = set(free_ports(100))
    given = set()
    for _ in range(3000):
        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            given.add(any_port.getsockname()[1])

    assert mine & given == set()
    assert len(given) > 1000


def test_another_process_gets_others() -> None:
    """Such as the other worker that runs tests."""
    script = f"import json; from {free_ports.__module__} import free_ports; print(json.dumps(free_ports(100)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert set(json.loads(done.stdout)) & set(free_ports(100)) == set()


def test_those_of_an_address_are_free_there() -> None:
    [port] = free_ports(1, "127.0.0.3")
    with socket.create_server(("127.0.0.3", port)):
        assert free_ports(100)
        assert port not in free_ports(99, "127.0.0.3")
