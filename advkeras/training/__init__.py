"""Adversarial training as a Keras model, and the command that runs it."""
