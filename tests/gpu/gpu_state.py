"""What the NVIDIA driver says of the GPU."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "megabytes": "memory.total",
    "megabytes used": "memory.used",
    "celsius": "temperature.gpu",
    "watts": "power.draw",
    "megahertz": "clocks.sm",
    "memory megahertz": "clocks.mem",
}
NUMBERS = tuple(FIELDS)[2:]
EVERY = 1.0  # seconds between two looks


def gpu_state() -> dict[str, Any] | None:
    """Name, driver, memory, heat, power and clocks of the first GPU; None without nvidia-smi.

    What the driver does not know of this GPU is left out.
    """
    query = ["nvidia-smi", f"--query-gpu={','.join(FIELDS.values())}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return state_of(answer)


def state_of(answer: str) -> dict[str, Any] | None:
    """The same from a line of nvidia-smi's."""
    values = [value.strip() for value in answer.partition("\n")[0].split(",")]
    if len(values) != len(FIELDS):
        return None
    state: dict[str, Any] = {}
    for name, value in zip(FIELDS, values, strict=True):
        try:
            state[name] = float(value) if name in NUMBERS else value
        except ValueError:  # "[N/A]"
            continue
    return state


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Look at the GPU each second meanwhile, and fill in the highest figures, and the lowest clock, at the end."""
    highest: dict[str, float] = {}
    states: list[dict[str, Any]] = []
    ended = Event()

    def look() -> None:
        while not ended.wait(EVERY):
            state = gpu_state()
            if state is None:
                return
            states.append(state)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        ended.set()
        thread.join()
        for name in NUMBERS:
            seen = [state[name] for state in states if name in state]
            if seen:
                highest[name] = max(seen)
                if name == "megahertz":
                    highest["lowest megahertz"] = min(seen)
