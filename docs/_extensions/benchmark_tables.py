"""The directive ``benchmark-table``: one part of the stored results of the benchmarks as a table."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from benchmarks.docs_tables import drill_table, list_tables

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


class BenchmarkTable(SphinxDirective):
    """``.. benchmark-table:: routes`` is the table of the part ``routes``.

    ``.. benchmark-table:: routes etcd`` is that of the results in the folder ``etcd``, and ``.. benchmark-table:: drill`` is
    that of the drill.
    """

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        part, *folder = self.arguments
        file = RESULTS / "drill" / "drill.json" if part == "drill" else Path(RESULTS, *folder, "results.json")
        self.env.note_dependency(str(file))
        result = json.loads(file.read_text("utf-8"))
        return self.parse_text_to_nodes(drill_table(result) if part == "drill" else list_tables(result)[part])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directive known."""
    app.add_directive("benchmark-table", BenchmarkTable)
    return {"parallel_read_safe": True}
