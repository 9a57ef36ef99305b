"""The JSON files that steps exchange or that the report reads, by the step that writes them.

Nothing is imported here, so that a script depends on the records of its own step alone.
"""
