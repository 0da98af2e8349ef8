"""A place in S3 for sweeps."""

from __future__ import annotations

import boto3
import pytest


@pytest.fixture
def place(s3, tmp_path) -> str:
    """A place for sweeps in a bucket of this test."""
    bucket = tmp_path.name.replace("_", "-")
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team/sweeps"
