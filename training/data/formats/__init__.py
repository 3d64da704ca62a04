"""Data sets of other people: strict readers, one module a format, and what turns them into a LoRAG data folder.

A reader gives a `Source` (`source`): passages, questions, turns, judgments in the set's own ids. `folder` makes of it documents
that `lorag ingest` reads, the passages that they are cut into, and rows for each role, split without leaks.
"""
