"""Agents as jobs of a Ray cluster: `besom launch ray SWEEP`."""
