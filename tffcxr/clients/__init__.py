"""Who holds what: from a records table to one file-backed dataset per client.

`partition` deals patients to clients, `shards` decodes their images once into TFRecord files,
`client_data` reads those files back as `tf.data.Dataset`s, augmented by `augment`, and `sampling`
draws the clients of each round.
"""
