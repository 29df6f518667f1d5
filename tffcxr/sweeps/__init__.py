"""Many settings of one recipe: the plan, its runs, and their comparison."""
