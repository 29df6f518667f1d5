"""What an exported model says of a user's files: reading, predicting, tables and pictures."""
