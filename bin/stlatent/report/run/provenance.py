"""What the results are made of: input files with checksums, and container images with digests."""

from __future__ import annotations

from stlatent.report.run.costs import summary
from stlatent.report.run.headline import failed_samples
from stlatent.report.run.outcome import outcomes
from stlatent.report.run.read import Json, Run


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
        "resources": summary(run.tasks, run.accelerators) if run.tasks is not None else {},
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
