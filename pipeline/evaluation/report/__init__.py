"""The evaluation report: `report.json` for programs and a self-contained `report.html` for people.

The page needs no network, no build step and no script for reading; the script only searches the questions. The report computes
no metric.
"""
