"""Flower starts a process for every message: what it imports stays light."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        *(
            "mos_server.federation.desk",
            "mos_server.federation.publishing",
            "mos_server.serving.tls",
        ),
        *("mos_server.cli", "mos_client.store.outbox", "mos_client.store.releases"),
        *("mos_client.store.enrolment", "mos_client.cli"),
    ],
)
def test_module_imports_no_torch_and_no_flower(module: str) -> None:
    lines = (
        f"import sys, {module}",
        "heavy = {'torch', 'diffusers', 'transformers', 'flwr'}",
        "print(*sorted(heavy & set(sys.modules)))",
    )
    told = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == []
