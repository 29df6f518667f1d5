"""The tables of the papers, beside which a report sets a run's own numbers."""
