"""Measurements of this proxy beside others, run by ``python -m benchmarks``; importing it does nothing.

A command is one module with a ``run(options)`` that returns plain JSON (``routes.py``), and is listed in ``__main__.py``.
"""
