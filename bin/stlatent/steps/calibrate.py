"""CALIBRATE: intervals and reliability of a sample's imputed genes, learned on held-out genes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stlatent import slots
from stlatent.evaluation.scoring import fold_of
from stlatent.failures import GaveUpError
from stlatent.records.evaluation import Calibration
from stlatent.records.inputs import Fold
from stlatent.trust import calibration, reliability

if TYPE_CHECKING:
    from anndata import AnnData


def calibrate(
    imputed: Path,
    spatial: AnnData,
    folds: Sequence[Fold],
    held_out: Iterable[AnnData],
    level: int,
    sample: str,
    arm: str,
    output: Path,
) -> tuple[pd.DataFrame, Calibration]:
    """Learn from held-out genes, and write the imputed file with what follows for every gene.

    Parameters
    ----------
    imputed
        Output of IMPUTE in the run that hides nothing.
    spatial
        The QC'd sample, which holds the truth.
    folds
        Those that hide genes; may be empty.
    held_out
        Outputs of IMPUTE, each for one of the folds; one at a time is held in memory.
    level
        Of the layers with bounds, in percent; 0 for none.
    sample, arm
        Noted.
    output
        The file to write.

    Returns
    -------
    The table of genes for reading, and the record.

    Raises
    ------
    DataError
        When spots or genes do not belong together.
    """
    by_name = {fold.name: fold for fold in folds}
    counts = bool(slots.facts(spatial)["counts"])
    found = calibration.calibrate(
        [calibration.hold_out(spatial, by_name[fold_of(file)], file) for file in held_out],
        reliability.read_prior(),
        counts,
    )
    var = calibration.read_var(imputed)
    panel = calibration.is_panel(var, spatial.n_vars)
    var = calibration.gene_table(var, found, counts, panel)
    shutil.copyfile(imputed, output)
    calibration.write_calibration(output, var, found.intervals, level, arm)
    population = folds[0].population if folds else None
    record = calibration.summary(var, found, level, panel, sample, arm, population)
    return calibration.published_table(var, found.held_out), record


def keep(imputed: Path, output: Path, unfinished: Iterable[Path]) -> None:
    """Leave the imputed file as it is, and nothing of a calibration that failed."""
    shutil.copyfile(imputed, output)
    for path in unfinished:
        path.unlink(missing_ok=True)


def given_up(reason: str) -> GaveUpError:
    """Return the failure of a calibration that was killed too often to be tried again."""
    # As long as the folder is there, Nextflow takes its files for the result of this task.
    return GaveUpError(
        f"{reason}. Cure: ask for more memory or time for CALIBRATE, or make room on the disk "
        f"(docs/failures.md), remove the folder {Path.cwd()}, then start the run again with -resume"
    )
