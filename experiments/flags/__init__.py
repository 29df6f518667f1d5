"""The absl flags that programs share, and what they mean."""
