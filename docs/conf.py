"""How Sphinx builds these pages: ``sphinx-build -W -b html docs docs/_build``. Needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

import traefik_toml_proxy

_DOCS = Path(__file__).parent
# The tables of performance are made by `benchmarks`, which is not installed.
sys.path[:0] = [str(_DOCS / "_extensions"), str(_DOCS.parent)]

project = "traefik_toml_proxy"
author = copyright = "The traefik_toml_proxy developers"  # noqa: A001 - Sphinx's name for it
version = release = traefik_toml_proxy.__version__

extensions = ["autodoc_traits", "myst_parser", "benchmark_tables", "settings"]
exclude_patterns = ["_build"]
nitpicky = True
toc_object_entries_show_parents = "hide"
autodoc_class_signature = "separated"  # how JupyterHub makes an object is of no interest to an administrator
highlight_language = "none"

html_theme = "pydata_sphinx_theme"
html_title = "traefik_toml_proxy"
html_static_path = ["_static"]
html_css_files = ["phone.css"]
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
}
# One page each, so there is nothing to list beside them.
html_sidebars = {"index": [], "tutorial": [], "contributing": [], "changelog": []}
