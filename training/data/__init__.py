"""Training rows: their sources, formats and schemas."""
