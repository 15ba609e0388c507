"""What is compared: a module for each contender, imported only when it is asked for. Importing this starts nothing.

``ours``, ``in-process``, ``chp`` and ``jtp`` are driven as JupyterHub drives them, through ``jupyterhub.proxy.Proxy``.
``in-process-asyncio`` is ``in-process`` without uvloop, and ``in-process-apart`` is ``in-process`` in a process of its own.
``before`` is ``ours`` again, but runs in another Python, which has another version of this package. ``floor`` is no proxy
but the least that a proxy of our kind has to do, and ``direct`` is no proxy at all. ``etcd`` is this package with the
routes in etcd and three replicas, ``files`` is what to compare that with: a file that three Traefiks watch. ``jtp-etcd`` is
``jtp`` with etcd.
"""

from __future__ import annotations

import importlib

from .base import Contender

_CLASSES = {
    "ours": ("ours", "Ours"),
    "before": ("ours", "Ours"),
    "in-process": ("inprocess", "InProcess"),
    "in-process-asyncio": ("inprocess", "InProcessAsyncio"),
    "in-process-apart": ("inprocess", "InProcessApart"),
    "floor": ("floor", "Floor"),
    "chp": ("chp", "Chp"),
    "jtp": ("jtp", "Jtp"),
    "direct": ("direct", "Direct"),
    "etcd": ("etcd", "EtcdReplicas"),
    "files": ("files", "Files"),
    "jtp-etcd": ("jtp_etcd", "JtpEtcd"),
}

# Those that need nothing but this Python.
NAMES = tuple(name for name in _CLASSES if name != "before")

# Those without a table of their own: they need to be up only once beside contenders with tables of several sizes.
FLOORS = ("floor", "direct")

# Those whose proxy is in the process of the Hub, which is the worker's.
IN_THE_HUB = ("in-process", "in-process-asyncio")

# How many members and replicas ``etcd`` has, and Traefiks ``files``.
REPLICAS = 3

# Those that are compared in the part ``routes`` only, and with at most so many routes.
OF_ROUTES = ("etcd", "files", "jtp-etcd")
MOST_OF_ROUTES = 10_000


def contender_class(name: str) -> type[Contender]:
    """Return the class of a contender."""
    module, class_name = _CLASSES[name]
    found: type[Contender] = getattr(importlib.import_module(f".{module}", __name__), class_name)
    return found
