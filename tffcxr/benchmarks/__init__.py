"""Speed and memory of rounds against plain Keras and stock TFF."""
