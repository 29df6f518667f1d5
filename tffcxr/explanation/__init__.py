"""What a plain Keras model looked at, and whether it looked at the right place."""
