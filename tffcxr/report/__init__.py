"""Tables, figures and report.html from a run directory alone; needs no TensorFlow.

Start at `report.write_report`.
"""
