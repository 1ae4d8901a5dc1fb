"""Mixed precision: what a device can do, and the scaler of losses that 16-bit gradients want."""

from __future__ import annotations

import contextlib

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def usable(precision: str, device: torch.device) -> str:
    """The precision that a training uses: the wanted one, or float32 where the device has no fast one like it.

    float16 is for GPUs; bfloat16 wants instructions that not every processor and GPU has.
    """
    if precision == "float32" or device.type != "cpu":
        fits = precision != "bfloat16" or torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fits = precision == "bfloat16" and any(
            on for name, on in torch.cpu.get_capabilities().items() if "bf16" in name
        )
    return precision if fits else "float32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context in which losses are computed: matrix products in 16 bits, parameters in 32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "float32")


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss where gradients in 16 bits would vanish (float16)."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
