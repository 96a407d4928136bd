"""What is built beside the configuration's nodes."""

import pytest
import torch

from awing.training.builders import fastest_precision


@pytest.mark.parametrize(
    ("flags", "precision"),
    [(["avx512_bf16"], "bf16-mixed"), (["amx_bf16"], "bf16-mixed"), (["avx2", "avx512_f"], "32-true"), ([], "32-true")],
)
def test_fastest_precision_follows_the_cpus_instructions(monkeypatch, flags, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(flags, True))
    assert fastest_precision("cpu") == precision


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_fastest_precision_follows_the_gpu(monkeypatch, native, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert fastest_precision("gpu") == precision
