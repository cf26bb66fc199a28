"""Optuna's samplers as besom methods: `method: optuna`."""
