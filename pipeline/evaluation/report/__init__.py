"""The evaluation report: `report.json` for programs and a self-contained `report.html` for people.

The page needs no network, no build step and no script to be read; the script only searches the questions. It shows what it
is given and computes no metric.
"""
