"""Weights in and models out: published weights, weight files, exported models."""
