"""What one federated round means: local training, aggregation, and who keeps which weights."""
