"""SageMaker for besom: a sweep whose runs are training jobs."""
