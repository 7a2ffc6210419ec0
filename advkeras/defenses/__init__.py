"""Defences: region classification as a Keras layer, adversarial training as a Keras model."""
