"""The programs: one per recipe, and those that prepare, predict and measure."""
