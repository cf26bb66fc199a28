"""A sweep over an estimator of the SageMaker SDK 2: pip install besom 'sagemaker<3'."""

import os

import boto3
from sagemaker.pytorch import PyTorch

import sagemaker
from besom_sagemaker import SageMakerSweep

bucket = os.environ.get("BUCKET", "my-bucket")
estimator = PyTorch(
    entry_point="train.py",
    source_dir="src",
    role=os.environ.get("ROLE", "arn:aws:iam::123456789012:role/SageMakerRole"),
    framework_version="2.5",
    py_version="py311",
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"s3://{bucket}/sweeps",
    sagemaker_session=sagemaker.Session(boto_session=boto3.Session(), default_bucket=bucket),
)

if __name__ == "__main__":
    poll = float(os.environ.get("POLL", "5"))
    sweep = SageMakerSweep(estimator, "sweep.yaml", max_jobs=3, poll_seconds=poll)
    sweep.run(on_event=lambda event: print(event.kind, event.run.name if event.run else event.detail))
    print("best:", sweep.best().params, sweep.best().value)
