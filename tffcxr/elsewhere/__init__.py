"""A finished model on images of hospitals that it was not trained on."""
