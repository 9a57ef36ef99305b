#!/usr/bin/env python3
"""Print the version of python, or of an installed package without importing it."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

try:
    print(platform.python_version() if sys.argv[1] == "python" else version(sys.argv[1]))
except PackageNotFoundError:
    print("not installed")
