"""Write the table of parameters in README.md from nextflow_schema.json; --check only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- parameters: begin -->", "<!-- parameters: end -->"


def table(schema: dict[str, Any]) -> str:
    """Return one Markdown table for every group of the schema."""
    parts = []
    for group in schema["$defs"].values():
        rows = [f"| `--{name}` | {_default(rule)} | {_text(rule)} |"
                for name, rule in group["properties"].items()]  # fmt: skip
        header = f"**{group['title']}**\n\n| parameter | default | meaning |\n|---|---|---|"
        parts.append("\n".join([header, *rows]))
    return "\n\n".join(parts)


def _default(rule: dict[str, Any]) -> str:
    return f"`{json.dumps(rule['default']).strip(chr(34))}`" if "default" in rule else ""


def _text(rule: dict[str, Any]) -> str:
    text = str(rule["description"])
    if "enum" in rule:
        text += f" (`{'`, `'.join(map(str, rule['enum']))}`)"
    return f"{text}. {rule['help_text']}" if "help_text" in rule else text


def replaced(readme: str, new: str) -> str:
    """Return the README with what is between the markers replaced."""
    head, rest = readme.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{new}\n{END}{tail}"


def main() -> None:
    """Write or check."""
    path = ROOT / "README.md"
    before = path.read_text()
    after = replaced(before, table(json.loads((ROOT / "nextflow_schema.json").read_text())))
    if "--check" not in sys.argv:
        path.write_text(after)
    elif before != after:
        sys.exit("README.md: the table of parameters is out of date: run make format")


if __name__ == "__main__":
    main()
