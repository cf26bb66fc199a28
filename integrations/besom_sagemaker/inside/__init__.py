"""What runs inside a training job: `boot.py` is process 1, and loads the rest from besom's wheel."""
