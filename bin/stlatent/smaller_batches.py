"""Training that starts anew with smaller batches when the memory of the GPU runs out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from stlatent.failures import is_gpu_memory

SMALLEST = 16


def with_smaller_batches[T](
    run: Callable[[int], T], batch_size: int, smallest: int = SMALLEST
) -> tuple[T, list[int]]:
    """Call ``run(batch_size)``, and with half of it for as long as the GPU's memory runs out.

    Every call has to start from the seed, so that its result is that of a run which had its
    batch size from the first.

    Returns
    -------
    The result, and the batch sizes that were tried: the last one is of the result.

    Raises
    ------
    torch.OutOfMemoryError
        When the smallest batch is still too large.
    """
    sizes = [batch_size]
    while True:
        try:
            return run(sizes[-1]), sizes
        except Exception as error:
            half = sizes[-1] // 2
            if not is_gpu_memory(error) or half < smallest:
                raise
            print(
                f"Out of GPU memory with batches of {sizes[-1]}: starting anew with {half}. {error}",
                file=sys.stderr,
                flush=True,
            )
        # Not before the error is gone: its traceback holds the tensors.
        _free()
        sizes.append(half)


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
