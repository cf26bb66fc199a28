from __future__ import annotations

import json
from typing import Any

import pytest

from besom.errors import UsageError
from besom_sagemaker.iam import Policies, least_policy

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"


def policy(**more: Any) -> Policies:
    options: dict[str, Any] = {
        "prefix": "s3://bucket/sweeps",
        "role_arn": ROLE,
        "region": "eu-west-1",
        **more,
    }
    return least_policy(**options)


def allowed(document: Any) -> dict[str, list[str]]:
    """Give the resources of every action."""
    actions: dict[str, list[str]] = {}
    for statement in document["Statement"]:
        for action in statement["Action"]:
            actions.setdefault(action, []).extend(statement["Resource"])
    return actions


def test_the_role_reads_the_secrets_that_are_referred_to_and_no_others() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:own-AbCdEf"
    references = {
        "A": "secretsmanager:team/keys#a",
        "B": "secretsmanager:team/keys#b",
        "C": f"secretsmanager:{arn}",
        "D": "ssm:/team/dsn:3",
    }
    made = policy(secrets=references)
    role = allowed(made.role)
    assert role["secretsmanager:GetSecretValue"] == [
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/keys-??????",
        arn,
    ]
    assert role["ssm:GetParameter"] == ["arn:aws:ssm:eu-west-1:123456789012:parameter/team/dsn"]
    assert not any(action.startswith("secretsmanager:") for action in allowed(made.client))


def test_the_client_may_push_only_where_there_is_something_to_push() -> None:
    made = policy(secrets={"HF_TOKEN": "env:HF_TOKEN"}, secret_name="besom/demo")
    secret = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:besom/demo-??????"]
    assert allowed(made.client)["secretsmanager:CreateSecret"] == secret
    assert allowed(made.role)["secretsmanager:GetSecretValue"] == secret
    assert "secretsmanager:PutSecretValue" not in allowed(made.role)


def test_files_are_those_below_the_prefix() -> None:
    made = policy(inputs=["s3://data/train/"], outputs=["s3://models"])
    role = allowed(made.role)
    assert role["s3:GetObject"] == ["arn:aws:s3:::data/train/*", "arn:aws:s3:::bucket/sweeps/*"]
    assert role["s3:PutObject"] == ["arn:aws:s3:::bucket/sweeps/*", "arn:aws:s3:::models/*"]
    lists = [one for one in made.role["Statement"] if one["Action"] == ["s3:ListBucket"]]
    assert [one["Condition"] for one in lists] == [
        {"StringLike": {"s3:prefix": ["train/*"]}},
        {"StringLike": {"s3:prefix": ["sweeps/*"]}},
    ]


def test_the_client_passes_this_role_to_sagemaker_only() -> None:
    [statement] = [one for one in policy().client["Statement"] if one["Action"] == ["iam:PassRole"]]
    assert statement["Resource"] == [ROLE]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_only_what_has_no_resources_of_its_own_is_allowed_on_all() -> None:
    made = policy(secrets={"A": "env:A"}, kms_keys=["arn:aws:kms:eu-west-1:123456789012:key/1"])
    everywhere = {
        action
        for document in (made.client, made.role)
        for action, resources in allowed(document).items()
        if "*" in resources
    }
    images = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
    assert everywhere - images == {
        "sagemaker:ListTrainingJobs",
        "cloudwatch:PutMetricData",
        "ecr:GetAuthorizationToken",
    }
    own = policy(image_repository_arn="arn:aws:ecr:eu-west-1:123456789012:repository/train")
    assert allowed(own.role)["ecr:BatchGetImage"] == ["arn:aws:ecr:eu-west-1:123456789012:repository/train"]


def test_it_is_a_policy_that_iam_takes(client: Any) -> None:
    made = policy(
        secrets={"A": "ssm:/a", "B": "env:B"}, kms_keys=["arn:aws:kms:eu-west-1:123456789012:key/1"]
    )
    iam = client("iam")
    for name, document in json.loads(made.to_json()).items():
        if name == "trust":
            iam.create_role(RoleName="SageMakerRole", AssumeRolePolicyDocument=json.dumps(document))
        else:
            iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))
            assert len(json.dumps(document, separators=(",", ":"))) < 6144  # IAM's limit


@pytest.mark.parametrize(
    ("options", "words"), [({"prefix": "bucket/x"}, "s3://"), ({"role_arn": "Role"}, "ARN")]
)
def test_what_is_no_address_is_told(options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        policy(**options)


def test_other_partitions_are_kept() -> None:
    made = policy(role_arn="arn:aws-cn:iam::123456789012:role/x")
    assert "arn:aws-cn:s3:::bucket/sweeps/*" in allowed(made.role)["s3:GetObject"]
