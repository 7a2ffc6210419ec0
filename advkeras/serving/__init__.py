"""SavedModels as they are served: written with all their signatures, checked without Python, probed over the network.

Nothing is imported here, so that :mod:`advkeras.serving.c_api` runs in a process without TensorFlow's Python.
"""
