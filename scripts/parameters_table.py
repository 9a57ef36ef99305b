"""Write docs/parameters.md from nextflow_schema.json; --check only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Parameters

On the command line: `nextflow run . --n_hvg 3000`, or `make run ARGS="--n_hvg 3000"`. In a file: `-params-file \
params.yml`, a line each, `n_hvg: 3000`. `nextflow run . --help` prints this list. All parameters are checked before \
any work; a misspelt one ends the run and names the nearest."""


def page(schema: dict[str, Any]) -> str:
    """Return the page, with one Markdown table for every group of the schema."""
    parts = [HEAD]
    for group in schema["$defs"].values():
        rows = [f"| `--{name}` | {_default(rule)} | {_text(rule)} |"
                for name, rule in group["properties"].items()]  # fmt: skip
        header = f"## {group['title']}\n\n| parameter | default | meaning |\n|---|---|---|"
        parts.append("\n".join([header, *rows]))
    return "\n\n".join(parts) + "\n"


def _default(rule: dict[str, Any]) -> str:
    return f"`{json.dumps(rule['default']).strip(chr(34))}`" if "default" in rule else ""


def _text(rule: dict[str, Any]) -> str:
    text = str(rule["description"])
    if "enum" in rule:
        text += f" (`{'`, `'.join(map(str, rule['enum']))}`)"
    return f"{text}. {rule['help_text']}" if "help_text" in rule else text


def main() -> None:
    """Write or check."""
    path = ROOT / "docs" / "parameters.md"
    after = page(json.loads((ROOT / "nextflow_schema.json").read_text()))
    if "--check" not in sys.argv:
        path.write_text(after)
    elif not path.exists() or path.read_text() != after:
        sys.exit("docs/parameters.md is out of date: run make format")


if __name__ == "__main__":
    main()
