"""VAEs by name. Importing this imports none of their libraries."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from stlatent.smaller_batches import with_smaller_batches
from stlatent.vae import models
from stlatent.vae.interface import Run, Train, Training
from stlatent.vae.training import check_cells

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Backend:
    """A registered VAE.

    Attributes
    ----------
    name
        As the parameter ``vae`` has it.
    title
        As papers write it.
    options
        Dataclass of its options.
    package
        Distribution that does the work.
    cite
        Authors, journal, year and the address of the paper, which comes last.
    function
        What trains it.
    """

    name: str
    title: str
    options: type
    package: str
    cite: str
    function: Train

    def select(self, values: Mapping[str, Any]) -> Any:
        """Return the backend's options from values by name, of which it may have only some."""
        return self.options(**{option.name: values[option.name] for option in fields(self.options)})

    def train(self, cells: AnnData, genes: list[str], options: Any, run: Run) -> Training:
        """Train on the reference, with smaller batches when the memory of the GPU runs out.

        Parameters
        ----------
        cells
            Reference after QC.
        genes
            Genes to model.
        options
            Of `select`.
        run
            Seed and device.

        Raises
        ------
        DataError
            With fewer than `training.MIN_CELLS` cells, or without some of the genes.
        """
        check_cells(cells, genes)
        start = time.perf_counter()
        sizes: list[int] = []
        if hasattr(options, "batch_size"):
            trained, sizes = with_smaller_batches(
                lambda size: self.function(cells, genes, replace(options, batch_size=size), run),
                options.batch_size,
            )
            options = replace(options, batch_size=sizes[-1])
        else:
            trained = self.function(cells, genes, options, run)
        return Training(
            backend=self.name,
            versions={self.package: version(self.package)},
            genes=list(genes),
            options=options,
            run=run,
            vae=trained,
            seconds=time.perf_counter() - start,
            batch_sizes=sizes,
        )


_backends: dict[str, Backend] = {}


def register(
    name: str, options: type, *, title: str, package: str, cite: str
) -> Callable[[Train], Train]:
    """Register the decorated function as the training of a VAE (`Backend`)."""

    def decorate(function: Train) -> Train:
        _backends[name] = Backend(name, title, options, package, cite, function)
        return function

    return decorate


@functools.cache
def _import_models() -> None:
    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"{models.__name__}.{module.name}")


def names() -> list[str]:
    """Return the names of all VAEs."""
    _import_models()
    return sorted(_backends)


def get(name: str) -> Backend:
    """Return the VAE called ``name``.

    Raises
    ------
    ValueError
        Naming the VAEs there are.
    """
    if name not in names():
        msg = f"unknown VAE {name!r}: choose {', '.join(names())}"
        raise ValueError(msg)
    return _backends[name]
