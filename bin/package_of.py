#!/usr/bin/env python3
"""Print the packages that methods to compare with, or a VAE, are from, each once."""

import sys

from stlatent.baselines.registry import METHODS, parse_names
from stlatent.vae import registry

if sys.argv[1] in registry.names():
    print(registry.get(sys.argv[1]).package)
else:
    print(*dict.fromkeys(METHODS[name].package for name in parse_names(sys.argv[1])))
