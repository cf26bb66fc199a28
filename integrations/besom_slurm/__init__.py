"""Agents as SLURM jobs."""
