"""What is measured after a round: one evaluator per kind of question."""
