"""Where the program under test is."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def callingedge():
    """The path of the built program."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    target = pathlib.Path(json.loads(metadata.stdout)["target_directory"])
    program = pathlib.Path(os.environ.get("CALLINGEDGE", target / "debug" / "callingedge"))
    assert program.exists(), f"{program} is not built; cargo build"
    return program
