"""Floors: systems without any training, measured item by item as a configuration of the chain is.

A tuned system that is not shown to be better than the best floor of a metric has bought nothing there. `systems` lists the
floors of a test set, `best` chooses the best one of each metric and compares with it.
"""
