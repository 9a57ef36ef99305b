#!/usr/bin/env python3
"""Print the installed version of a package, without importing it."""

import sys
from importlib.metadata import PackageNotFoundError, version

try:
    print(version(sys.argv[1]))
except PackageNotFoundError:
    print("not installed")
