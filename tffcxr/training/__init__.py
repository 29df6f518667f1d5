"""The loop over rounds, its files, and the centralised baseline it is compared with."""
