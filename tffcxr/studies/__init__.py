"""Studies: from the clients' records to the report, one package per kind of question."""
