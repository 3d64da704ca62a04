"""How good the chain and its stages are: metrics, significance, ablation, report. Nothing else in pipeline imports it."""
