"""Attacks on the privacy of a finished run, as an audit: what its coordinator could find out."""
