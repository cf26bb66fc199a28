"""Stores: where sweeps, runs and what they reported live."""
