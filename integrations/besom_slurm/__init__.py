"""Agents as SLURM jobs: `besom launch slurm SWEEP`."""
