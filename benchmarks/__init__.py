"""Measurements of this proxy beside others, run by ``python -m benchmarks``; importing it does nothing.

A part of the profile is one module with ``Options`` and a ``measure(bench, options, result)`` that fills ``result`` with
plain JSON; ``profile.py`` lists them.
"""
