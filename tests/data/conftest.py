from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path):
    """A folder with three different 8 x 8 PNG files, a.png, b.png and c.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in {"a": "red", "b": "green", "c": "blue"}.items():
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def table(tmp_path):
    """A CSV of four contents: two of test t1, one of t2, one of none and without picture."""
    frame = pd.DataFrame(
        {
            "id": ["007", "008", "009", "010"],
            "test": ["t1", "t1", "t2", None],
            "country": ["NA", "NA", "DE", "DE"],
            "title": ["Free tea", "Free coffee", "Hot soup", "Cold pie"],
            "price": [1.5, np.nan, 2.0, 3.0],
            "image": ["a.png", "b.png", "c.png", None],
            "shown": [100, 200, 50, 10],
            "clicked": [10, 10, 0, 10],
        }
    )
    path = Path(tmp_path / "table.csv")
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def bucket(s3, request):
    """An empty bucket of its own for each test, reached through AWS_ENDPOINT_URL."""
    name = f"bucket{abs(hash(request.node.name)) % 10**9}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
