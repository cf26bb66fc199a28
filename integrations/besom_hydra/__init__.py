"""besom for Hydra: a sweeper, a launcher, and the callback that brings a job's result home."""
