"""The figures of reports, a module per figure."""
