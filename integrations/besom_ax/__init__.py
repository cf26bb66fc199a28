"""Ax as a besom method: `method: ax`."""
