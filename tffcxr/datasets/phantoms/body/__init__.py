"""Phantom bodies with kidneys, and phantom lesions of brain and breast."""
