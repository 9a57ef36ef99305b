#!/usr/bin/env python3
"""Write which GPU torch sees on this node, or why it sees none."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import click

from stlatent import devices


@click.command(help=__doc__)
@click.option("--output", required=True, type=click.Path(path_type=Path))
def main(output: Path) -> None:
    sight = devices.look()
    output.write_text(json.dumps({**sight._asdict(), "node": socket.gethostname()}) + "\n")


if __name__ == "__main__":
    main()
