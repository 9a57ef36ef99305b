"""Readers of users' files, one file a format."""

from __future__ import annotations

import importlib
import pkgutil

from stlatent.readers import formats

for _module in pkgutil.iter_modules(formats.__path__):
    importlib.import_module(f"{formats.__name__}.{_module.name}")
