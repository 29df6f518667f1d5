"""Federated training of a Keras model that the user brings: what `tffcxr` itself exports."""
