"""What is run on which models, running it, and the results as data."""
