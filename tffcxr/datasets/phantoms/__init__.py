"""Phantom data sets, in the layout of the sources whose loaders read them."""
