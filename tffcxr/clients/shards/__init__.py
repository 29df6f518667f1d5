"""Images decoded once into shards that clients read fast."""
