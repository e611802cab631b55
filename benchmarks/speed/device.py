"""All that is measured on one device, in at most 8 minutes and one JSON: tests, models, training, large graphs.

Sections run in the order of `SECTIONS`. One that fails or runs out of time is recorded with its error, and the others
still run; the JSON is written after each.

Run: python -m benchmarks.speed.device --device cuda --out benchmarks/speed/results/device-cuda.json
On a CPU, to see that it works: python -m benchmarks.speed.device --device cpu --small
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks import files
from benchmarks.speed import clock, device_graphs, device_models, device_training
from benchmarks.speed.device_setting import OutOfTime, Setting

MINUTES = 8.0
# The files whose tests use a GPU if there is one.
GPU_TESTS = (
    "tests/nn/test_fused_pair_mlp.py",
    "tests/data/test_devices.py",
    "tests/convert/test_pyg.py",
    "tests/_utils/test_seeding.py",
    "tests/backbones/test_external.py",
)
Section = Callable[[Setting], dict[str, object]]


def gpu_tests(setting: Setting) -> dict[str, object]:
    """Run the tests that use a GPU."""
    if setting.device.type != "cuda":
        return {"skipped": f"the device is {setting.device}"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *GPU_TESTS]
    # At most a quarter of the time: the measurements need the rest.
    seconds = max(30.0, setting.seconds_left() / 4)
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )
    lines = run.stdout.strip().splitlines()
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    summary = lines[-1] if lines else run.stderr[-2000:]
    return {"passed": run.returncode == 0, "summary": summary, "failures": failures}


# The most important ones first, as the last may find no time.
SECTIONS: Mapping[str, Section] = {
    "gpu_tests": gpu_tests,
    "egnn_predictions": device_models.predictions,
    "egnn_training": device_models.training,
    "omniglot_episodes_per_second": device_training.omniglot,
    "large_graphs": device_graphs.many_items,
    "egnn_ragged": device_models.ragged,
    "gnn_predictions": device_models.gnn,
    "kernel_inner_loop": device_training.kernel_inner_loop,
    "maml": device_training.maml_steps,
}


def run_section(section: Section, setting: Setting) -> dict[str, object]:
    """Run a section, and record its error instead of raising it."""
    begin = time.perf_counter()
    try:
        setting.check_time()
        result: dict[str, object] = {"result": section(setting)}
    except OutOfTime as error:
        result = {"error": str(error)}
    # Anything may fail on a device that has not been tried, such as memory, kernels or a compiler.
    except Exception as error:
        trace = traceback.format_exc().splitlines()[-6:]
        result = {"error": f"{type(error).__name__}: {error}"[:2000], "trace": trace}
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
    return {**result, "section_seconds": time.perf_counter() - begin}


def measure(
    device: torch.device,
    *,
    repeats: int = 7,
    minutes: float = MINUTES,
    small: bool = False,
    out: Path | None = None,
    sections: Mapping[str, Section] = SECTIONS,
) -> dict[str, object]:
    """Run all sections and return what is written to `out`."""
    setting = Setting(device, repeats, small, time.monotonic() + 60 * minutes)
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else "cpu"
    result: dict[str, object] = {
        "device": name,
        "small": small,
        "repeats": repeats,
        **clock.machine(),
    }
    for section, function in sections.items():
        result[section] = run_section(function, setting)
        if out is not None:
            files.write(out, json.dumps(result, indent=1) + "\n")
    result["failed"] = [name for name in sections if "error" in result[name]]  # type: ignore[operator]
    if out is not None:
        files.write(out, json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Measure, print without the single times, and write the result after each section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to test the script")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = measure(
        torch.device(arguments.device),
        repeats=arguments.repeats,
        minutes=arguments.minutes,
        small=arguments.small,
        out=arguments.out,
    )
    print(json.dumps(result, indent=1, default=str))
    if result["failed"]:
        raise SystemExit(f"failed: {', '.join(result['failed'])}")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
