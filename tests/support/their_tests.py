"""A plugin for JupyterHub's own tests: their Hub has the proxy that the environment variable PROXY_CONFIG configures."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from jupyterhub.tests.mocking import MockHub
from traitlets.config import Config

from .processes import MARK
from .traefik import TRAEFIK_COMMAND

# JupyterHub ends servers by it first, and waits for ten seconds. What a shell runs in the background ignores it, and so
# would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

_initialize = MockHub.__init__


def _with_our_proxy(self: Any, *args: Any, **kwargs: Any) -> None:
    _initialize(self, *args, **kwargs)
    more = Config(json.loads(os.environ["PROXY_CONFIG"]))
    more.TraefikProxy.traefik_env = MARK
    more.TraefikProxy.traefik_command = TRAEFIK_COMMAND
    self.config.merge(more)
    self.update_config(self.config)


MockHub.__init__ = _with_our_proxy
