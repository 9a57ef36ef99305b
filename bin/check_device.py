#!/usr/bin/env python3
"""Write which GPU torch sees on this node, or why it sees none."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from stlatent import devices
from stlatent.records.run import Device


@click.command(help=__doc__)
@click.option("--output", required=True, type=click.Path(path_type=Path))
def main(output: Path) -> None:
    gpu, reason = devices.look()
    Device(gpu, reason, socket.gethostname()).write(output)


if __name__ == "__main__":
    main()
