#!/usr/bin/env python3
"""Print the packages that methods to compare with are from, each once."""

import sys

from stlatent.baselines.registry import METHODS, parse_names

print(*dict.fromkeys(METHODS[name].package for name in parse_names(sys.argv[1])))
