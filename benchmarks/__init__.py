"""Benchmarks of this proxy beside others, run by ``python -m benchmarks``; importing it does nothing.

Each part of the profile is a module with ``Options`` and a function ``measure(bench, options, result)``, which fills
``result`` with plain JSON. ``profile.py`` lists them.
"""
