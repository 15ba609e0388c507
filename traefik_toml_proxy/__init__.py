"""A JupyterHub proxy that keeps the routes in one TOML file, which Traefik reloads. Importing it starts nothing."""

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import InvalidRoute, ProxyError

if TYPE_CHECKING:
    from .proxies.etcd import TraefikEtcdProxy
    from .proxies.inprocess import InProcessProxy
    from .proxies.toml import TraefikTomlProxy
    from .proxies.traefik import TraefikProxy

__all__ = [
    "InProcessProxy",
    "InvalidRoute",
    "ProxyError",
    "TraefikEtcdProxy",
    "TraefikProxy",
    "TraefikTomlProxy",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a class when it is used: these need JupyterHub, which an agent runs without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .proxies import etcd, inprocess, toml, traefik

    return next(found for module in (etcd, inprocess, toml, traefik) if (found := getattr(module, name, None)))
