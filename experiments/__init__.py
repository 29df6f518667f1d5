"""The programs: one per recipe, and the tools that sweep, report, predict and measure."""
