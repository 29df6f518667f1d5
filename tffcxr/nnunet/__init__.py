"""nnU-Net: fingerprint, plan, network, loss, patches and inference, as one package."""
