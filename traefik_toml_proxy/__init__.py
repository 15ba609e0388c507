"""A JupyterHub proxy: the routes in one TOML file that Traefik reloads. Importing it starts nothing."""

from ._version import __version__
from .errors import InvalidRoute, ProxyError
from .proxies.toml import TraefikTomlProxy
from .proxies.traefik import TraefikProxy

__all__ = ["InvalidRoute", "ProxyError", "TraefikProxy", "TraefikTomlProxy", "__version__"]
