"""The absl flags that programs share, their checks, and what they make."""
