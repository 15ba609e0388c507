"""A JupyterHub proxy: the routes in one TOML file that Traefik reloads. Importing it starts nothing."""

__version__ = "0.1.0.dev0"

from .errors import InvalidRoute, ProxyError
from .proxy import TraefikProxy, TraefikTomlProxy

__all__ = ["InvalidRoute", "ProxyError", "TraefikProxy", "TraefikTomlProxy", "__version__"]
