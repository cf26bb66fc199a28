"""A sweep over a ModelTrainer of the SageMaker SDK 3: pip install 'besom[sagemaker]'."""

import os

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, OutputDataConfig, SourceCode

from besom_sagemaker import SageMakerSweep

bucket = os.environ.get("BUCKET", "my-bucket")
trainer = ModelTrainer(
    sagemaker_session=Session(boto_session=boto3.Session(), default_bucket=bucket),
    role=os.environ.get("ROLE", "arn:aws:iam::123456789012:role/SageMakerRole"),
    training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.5-cpu-py311",
    source_code=SourceCode(source_dir="src", entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/sweeps"),
)

if __name__ == "__main__":
    poll = float(os.environ.get("POLL", "5"))
    sweep = SageMakerSweep(trainer, "sweep.yaml", max_jobs=3, poll_seconds=poll)
    sweep.run(on_event=lambda event: print(event.kind, event.run.name if event.run else event.detail))
    print("best:", sweep.best().params, sweep.best().value)
