"""Chest X-ray datasets: one module per source, read into one table of records.

`loaders.load_records("rsna", root, site)` gives the records table (see `records`), `images` decodes
what it points to, `annotations` holds boxes and masks, `splits` divides patients.
"""
