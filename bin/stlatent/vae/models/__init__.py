"""The VAEs, one file each. `stlatent.vae.registry` finds them by looking into this folder.

A file imports what is slow to import (scvi 17 s, torch 3 s) within its functions.
"""
