"""Starter adapters: generic rewriter, synthesizer and judge for the default base, trained on public sets; the recipe of each."""
