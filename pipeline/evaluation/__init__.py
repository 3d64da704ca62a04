"""Evaluation of the chain and its stages: metrics, significance, ablation, report. Nothing else in pipeline imports it."""
