"""A table of a hospital's own: its file, its columns, its labels, and the images that it names."""
