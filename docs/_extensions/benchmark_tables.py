"""The directive ``benchmark-table``: one part of benchmarks/results/results.json as a table."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from benchmarks.docs_tables import list_tables

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "results.json"


class BenchmarkTable(SphinxDirective):
    """``.. benchmark-table:: routes`` is the table of the part ``routes``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.env.note_dependency(str(RESULTS))
        return self.parse_text_to_nodes(list_tables(json.loads(RESULTS.read_text("utf-8")))[self.arguments[0]])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directive known."""
    app.add_directive("benchmark-table", BenchmarkTable)
    return {"parallel_read_safe": True}
