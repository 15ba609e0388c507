"""README.rst and CONTRIBUTING.rst: what can be checked of them."""

from __future__ import annotations

from pathlib import Path

import docutils.core
import pytest

from traefik_toml_proxy import TraefikTomlProxy

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["README.rst", "CONTRIBUTING.rst"])
def test_it_is_well_formed(name: str) -> None:
    """A document is reStructuredText without a single warning."""
    settings = {"report_level": 2, "halt_level": 2, "_disable_config": True}
    document = docutils.core.publish_doctree(ROOT.joinpath(name).read_text(), settings_overrides=settings)

    assert len(document) > 3


def test_every_setting_is_in_the_readme() -> None:
    """Each trait of ours that an admin can set is in the README, under the name of the class that has it."""
    readme = ROOT.joinpath("README.rst").read_text()
    names = [
        f"{owner.__name__}.{name}"
        for owner in TraefikTomlProxy.__mro__
        if owner.__module__.startswith("traefik_toml_proxy")
        for name, trait in owner.class_own_traits(config=True).items()
        if trait.this_class is owner
    ]

    assert len(names) >= 14
    assert [name for name in names if f"``{name}``" not in readme] == []
