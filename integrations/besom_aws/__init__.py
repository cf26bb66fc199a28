"""AWS without SageMaker: sweeps handed to agents by an SQS queue, agents as AWS Batch and ECS jobs."""
