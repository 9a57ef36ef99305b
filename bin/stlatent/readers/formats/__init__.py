"""The formats, one file each. `stlatent.readers` finds them by looking into this folder.

A file imports libraries that read files within its functions.
"""
