"""A JupyterHub proxy that keeps the routes in one TOML file, which Traefik reloads. Importing it starts nothing."""

from ._version import __version__
from .errors import InvalidRoute, ProxyError
from .proxies.toml import TraefikTomlProxy
from .proxies.traefik import TraefikProxy

__all__ = ["InvalidRoute", "ProxyError", "TraefikProxy", "TraefikTomlProxy", "__version__"]
