"""Regions around images: their shapes, and the vote of the points in them."""

from advkeras.regions.shapes import Ball, Gaussian, Hypercube, Radial, Region, get, names, orthogonal_directions
from advkeras.regions.voting import RegionVote

__all__ = [
    "Ball",
    "Gaussian",
    "Hypercube",
    "Radial",
    "Region",
    "RegionVote",
    "get",
    "names",
    "orthogonal_directions",
]
