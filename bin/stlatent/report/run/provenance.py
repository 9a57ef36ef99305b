"""What the results are made of, for the machine-readable record of the run."""

from __future__ import annotations

from stlatent.records.inputs import Checksums
from stlatent.records.run import Provenance, UsedInput
from stlatent.report.run.costs import run_cost
from stlatent.report.run.headline import failed_samples
from stlatent.report.run.model import Run
from stlatent.report.run.outcome import outcomes


def record(run: Run) -> Provenance:
    """Return what the record of the run needs from the tasks."""
    trained = {reference for reference, _ in run.vaes}
    return Provenance(
        facts=run.facts,
        inputs=inputs(run),
        images=run.images,
        samples=run.samples,
        # Of the others only an earlier run may have left files.
        references=sorted(trained.intersection(filter(None, run.references.values()))),
        failed=failed_samples(outcomes(run)),
        resources=None if run.tasks is None else run_cost(run.tasks, run.accelerators),
    )


def inputs(run: Run) -> list[UsedInput]:
    """Return the distinct inputs, with their files and with what is made of them."""
    unread = {source.id: Checksums(source.id, source.kind, [], []) for source in run.sources}
    files = unread | run.checksums
    return [
        UsedInput(
            source.id,
            source.kind,
            source.path,
            source.coordinates,
            run.used_by.get(source.id, []),
            files[source.id].data,
            files[source.id].coordinates,
        )
        for source in run.sources
    ]
