"""What the results are made of: input files with checksums, and container images with digests."""

from __future__ import annotations

from typing import Any

from stlatent.report.chapters import resources
from stlatent.report.page.content import ABOUT, Fragment, escape, html_table, text_section
from stlatent.report.run.headline import failed_samples
from stlatent.report.run.outcome import outcomes
from stlatent.report.run.read import Json, Run

FILES_SHOWN = 200
UNITS = ("B", "KB", "MB", "GB", "TB")

NO_IMAGES = """<p>The tasks ran without containers, in the Python environment beside the pipeline or in
the one that was active. The versions of its packages are listed below.</p>"""


def record(run: Run) -> Json:
    """Return what the machine-readable record of the run needs from the tasks."""
    return {
        "facts": run.facts,
        "inputs": inputs(run),
        "images": run.images,
        "samples": run.samples,
        # Of the others only an earlier run may have left files.
        "references": sorted({name for name in run.references.values() if name in run.vae}),
        "failed": failed_samples(outcomes(run)),
        "resources": resources.summary(run),
    }


def inputs(run: Run) -> list[Json]:
    """Return the distinct inputs, with their files and with what is made of them."""
    return [
        {
            **source,
            "used_by": run.used_by.get(source["id"], []),
            "files": run.checksums.get(source["id"], {}).get("data", []),
            "coordinates_files": run.checksums.get(source["id"], {}).get("coordinates", []),
        }
        for source in run.sources
    ]


def sections(run: Run) -> list[Fragment]:
    """Return the tables of inputs and of images."""
    return [*input_files(run), *images(run)]


def input_files(run: Run) -> list[Fragment]:
    """Return the files of all inputs with sizes and SHA-256."""
    rows = [
        (used, escape(name), escape(readable(file["bytes"])), digest(file["sha256"]))
        for source in inputs(run)
        for used in [escape(", ".join(source["used_by"]) or "none that ran")]
        for name, file in listed(source)
    ]
    if not rows:
        return []
    more = len(rows) - FILES_SHOWN
    rest = f"<p>{more:,} more are in <code>ro-crate-metadata.json</code>.</p>" if more > 0 else ""
    text = (
        "<p>As they were read; <code>sha256sum FILE</code> gives the same for the same file. In "
        "a folder only what is needed was read. Where they lie is in "
        "<code>ro-crate-metadata.json</code>.</p>"
    )
    header = ("Sample or reference", "File", "Size", "SHA-256")
    body = html_table(header, rows[:FILES_SHOWN], "stl-narrow stl-files")
    body = f'{text}<div class="stl-scroll">{body}</div>{rest}'
    return [text_section(ABOUT, "about_inputs", "Input files", body)]


def listed(source: Json) -> list[tuple[str, Json]]:
    """Return the files of an input under the names by which users know them."""
    folder = str(source.get("path", "")).rstrip("/").rpartition("/")[2]
    files = source["files"]
    # A file has the name of its input; what is in a folder has a name of its own.
    inside = [
        (file["name"] if file["name"] == folder else f"{folder}/{file['name']}", file)
        for file in files
    ]
    return inside + [(file["name"], file) for file in source["coordinates_files"]]


def readable(size: int | None) -> str:
    """Return a number of bytes as text."""
    if size is None:
        return "not read"
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {UNITS[unit]}" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"


def digest(value: Any) -> str:
    """Return a checksum as HTML."""
    return f"<code>{escape(value)}</code>" if value else "not read"


def images(run: Run) -> list[Fragment]:
    """Return the container images; nothing where the run says nothing of containers."""
    if "container_engine" not in run.facts:
        return []
    rows = [
        (
            f"<code>{escape(image['name'])}</code>",
            escape(", ".join(image["processes"])),
            digest(image["digest"]) if image["digest"] else "not known",
            escape(image["basis"]),
        )
        for image in run.images
    ]
    header = ("Image", "Processes", "Digest", "Known from")
    body = html_table(header, rows, "stl-files") if rows else NO_IMAGES
    if run.facts["container_engine"] and not rows:
        body = "<p>Which images the tasks ran in could not be read from the table of tasks.</p>"
    return [text_section(ABOUT, "about_images", "Container images", body)]
