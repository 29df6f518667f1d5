"""Federated learning for chest X-rays with Keras models and TensorFlow Federated."""
