"""Readers, valid files for them, and what makes others of these: for the tests, and for scripts/fuzz.py."""
