"""What attacks are built of: problems, losses, ensembles and the loops that search."""
