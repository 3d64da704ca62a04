"""Public data sets: strict readers, one module a format, and the conversion into a LoRAG data folder.

A reader returns a `Source` (`source`): passages, questions, turns and judgments with the ids of the set. `folder` writes them as
documents that `lorag ingest` reads, their chunks as passages, and rows for each role, split without leaks.
"""
