"""Where is a region in a radiograph? Jaccard and Dice of each image."""
