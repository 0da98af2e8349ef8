"""`ni dashboard` as a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from ni_platform.dashboard.loaded_model import LoadedModel
from ni_platform.errors import ConfigError
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.tracking.store import open_store


def test_beyond_loopback_the_command_draws_a_token(model_folder, pictured):
    """Printed once; who does not know it sees nothing."""
    words = [sys.executable, "-c", "from ni_platform.cli.main import main; main()", "dashboard",
             model_folder, "--data", pictured.root, "--host", "0.0.0.0", "--port", "0"]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if found := re.search(r"http://\S+:(\d+)/\?token=(\S+)", line):
                    break
            assert found, lines
            here = f"http://127.0.0.1:{found[1]}/"
            with pytest.raises(HTTPError, match="401"):
                urlopen(here)
            request = Request(here, headers={"Authorization": f"Bearer {found[2]}"})
            with urlopen(request) as answer:
                assert b"Predicted success rate" in answer.read()
        finally:
            process.terminate()


def test_a_model_of_a_table_is_refused(pictured, tmp_path):
    """It has no attributions."""
    TabularRegressor.fit(TabularConfig(), pictured, np.arange(50)).save(tmp_path / "glm")

    with pytest.raises(ConfigError, match="only networks can be explained"):
        LoadedModel.load(open_store(), str(tmp_path / "glm"))
