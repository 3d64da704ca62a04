"""Measures adapters on held-out rows: the use case behind `Project.evaluate` and `lorag eval`."""
