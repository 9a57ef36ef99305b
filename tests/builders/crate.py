"""The record of a run, checked by its structure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]


def read_crate(folder: Path) -> dict[str, Json]:
    """Return the entities of ``ro-crate-metadata.json`` by their ids, once all hangs together.

    Every entity has a type and one description, every link within the crate leads to one, and
    every file that is named relative to the crate is there. No id holds a blank, and all usage says of
    what and in which unit.
    """
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    assert all(entity["@type"] for entity in graph)
    assert not [identifier for identifier in entities if re.search(r"\s", identifier)]
    for used in action(entities).get("resourceUsage", []):
        assert entities[used["@id"]]["propertyID"] and entities[used["@id"]]["unitCode"]
    root = entities[entities["ro-crate-metadata.json"]["about"]["@id"]]
    assert root["datePublished"] and root["license"]
    assert "ComputationalWorkflow" in entities[root["mainEntity"]["@id"]]["@type"]
    for link in links(graph):
        assert link in entities or link.startswith(("http://", "https://")), link
    for identifier, entity in entities.items():
        if "File" in entity["@type"] and "://" not in identifier:
            assert (folder / unquote(identifier)).is_file(), identifier
            assert {"@id": identifier} in root["hasPart"], identifier
    return entities


def links(content: Any) -> Iterator[str]:
    """Return the ids to which entities refer."""
    if isinstance(content, list):
        for item in content:
            yield from links(item)
    elif isinstance(content, dict):
        if set(content) == {"@id"}:
            yield content["@id"]
        else:
            yield from links(list(content.values()))


def action(entities: dict[str, Json]) -> Json:
    """Return the run itself."""
    (found,) = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
    return found
