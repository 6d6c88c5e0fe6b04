"""The table in docs/architecture.md is correct: no module imports one below it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def table() -> dict[str, str]:
    """The last column of each module's row, in the table's order; programs share a row."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    rows: dict[str, str] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            rows.update(dict.fromkeys(re.findall(r"`([\w.]+)`", cells[0]), cells[2]))
    return rows


def modules() -> dict[str, Path]:
    """Each module's file, by its name within the package: ``model``, ``results.table``."""
    found = {}
    for path in (REPOSITORY / "cvae").rglob("*.py"):
        parts = path.relative_to(REPOSITORY / "cvae").with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    del found[""]
    return found


def imports_of(module: str) -> set[str]:
    tree = ast.parse(modules()[module].read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = f"{node.module}."
            names = [source] if source != "cvae." else [source + alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found.update(name[5:].rstrip(".") for name in names if name.startswith("cvae."))
    return found


def test_every_module_has_its_row() -> None:
    assert set(modules()) == set(table())


@pytest.mark.parametrize("module", list(table()))
def test_a_module_imports_only_what_its_row_allows(module: str) -> None:
    rows = table()
    order = list(rows)
    found = imports_of(module)
    assert all(order.index(name) < order.index(module) for name in found), found
    if rows[module] not in ("all above", "as needed"):
        assert found <= set(re.findall(r"`([\w.]+)`", rows[module]))


def test_the_sweeper_knows_nothing_of_the_application() -> None:
    for path in (REPOSITORY / "hydra_plugins").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) cvae\b", path.read_text(), flags=re.MULTILINE), (
            path
        )


def test_every_module_of_the_sweeper_is_in_its_table() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    modules = (REPOSITORY / "hydra_plugins" / "hydra_cvae_sweeper").glob("*.py")
    names = {path.stem for path in modules} - {"__init__"}
    assert {name for name in names if f"`{name}`" not in text} == set()
