"""Keras models of chest X-rays, and nothing federated: builders, losses, weights, export."""
