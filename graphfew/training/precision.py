"""Detection of hardware support for bfloat16."""

from __future__ import annotations

import platform

import torch


def supports_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Check whether a device multiplies in bfloat16 in hardware.

    Without it, PyTorch emulates bfloat16 on the CPU, up to 200 times slower than float32.

    Args:
        device: the device of the model.

    Returns:
        True for processors with AVX512-BF16 or AMX, for ARM processors with BF16 instructions,
        and for GPUs that support bfloat16.

    Example:
        >>> import graphfew as gf
        >>> isinstance(gf.training.supports_bfloat16("cpu"), bool)
        True
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return True
    # macOS and Windows write arm64, Linux writes aarch64.
    if platform.machine().lower() in ("arm64", "aarch64"):
        return _arm_supports_bfloat16()
    features = _x86_features()
    # `amx_tile` is what PyTorch before 2.11 reports; processors with it also have AMX's bfloat16.
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile"))


def _x86_features() -> dict[str, bool]:
    """Instruction sets of an x86 processor that matter for bfloat16."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    # PyTorch before 2.11 has no public function for this.
    return {
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_tile": torch.cpu._is_amx_tile_supported(),
    }


def _arm_supports_bfloat16() -> bool:
    """Whether Linux reports the BF16 instructions; elsewhere they are unknown and assumed absent."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            return " bf16" in file.read()
    except OSError:
        return False
