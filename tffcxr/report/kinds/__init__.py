"""What reports of one kind of study say, a module per kind."""
