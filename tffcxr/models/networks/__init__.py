"""One architecture per module, as trunks without a task block."""
