"""A test suite for any JupyterHub proxy: what users and JupyterHub rely on, from outside. Importing it starts nothing."""

from __future__ import annotations

from .case import Case, Failed, Level, NotOffered, Options
from .cases import CASES
from .outcome import Outcome, Result
from .runner import Session, run_all
from .setting import Setting
from .started_by_hub import StartedByHub
from .subject import Subject

__all__ = [
    "CASES",
    "Case",
    "Failed",
    "Level",
    "NotOffered",
    "Options",
    "Outcome",
    "Result",
    "Session",
    "Setting",
    "StartedByHub",
    "Subject",
    "run_all",
]
