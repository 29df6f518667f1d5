"""One module per source of radiographs; each reads a folder into the records table."""
