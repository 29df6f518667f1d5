"""Which layers of a network the arrays of a file belong to: one module per library."""
