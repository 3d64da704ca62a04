"""Starter adapters: generic rewriter, synthesizer and judge for the default base, trained on public sets, with their recipes."""
