#!/usr/bin/env python3
"""Print the version of python, or of installed packages without importing them."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version


def version_of(name: str) -> str:
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


print(*map(version_of, sys.argv[1:]))
