"""Metrics, intervals and tests as NumPy functions of (labels, scores), and the table they make.

Start at `tables.result_row`; the formulas are in `metrics`, `bootstrap` and `delong`.
"""
