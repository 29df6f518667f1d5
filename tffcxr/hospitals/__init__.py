"""Hospitals that compute their clients' parts of a round themselves, and the coordinator's side."""
