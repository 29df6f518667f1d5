"""Where is it in a volume? Nodes that differ in images and tasks, Dice of each case."""
