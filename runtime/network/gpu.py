"""The GPU and NVIDIA's libraries, queried from the driver and the loader with nothing else installed."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spade_edge.runtime.errors import DeviceError

MAJOR, MINOR = 75, 76  # CUdevice_attribute: compute capability


@dataclass(frozen=True)
class Gpu:
    """A GPU, as far as an engine depends on it.

    Attributes:
        name: the driver's name for it.
        capability: compute capability, such as "8.7" of a Jetson Orin.
    """

    name: str
    capability: str

    @classmethod
    def at(cls, number: int) -> Gpu:
        """The GPU with a given number.

        Raises:
            DeviceError: there is no driver, or no such GPU.
        """
        try:
            driver = _load("libcuda.so.1")
        except OSError as problem:
            raise DeviceError(f"expected NVIDIA's driver, found none: {problem}") from None
        _must(driver, driver.cuInit(0))
        count, device, value, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
        _must(driver, driver.cuDeviceGetCount(ctypes.byref(count)))
        if number >= count.value:
            raise DeviceError(f"expected a GPU number from 0 to {count.value - 1}, found {number}; set --device")
        _must(driver, driver.cuDeviceGet(ctypes.byref(device), number))
        _must(driver, driver.cuDeviceGetName(name, len(name), device))
        capability = []
        for attribute in (MAJOR, MINOR):
            _must(driver, driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
            capability.append(str(value.value))
        return cls(name=name.value.decode(errors="replace"), capability=".".join(capability))


def tensorrt_version(library: Path) -> str:
    """Version of the TensorRT that onnxruntime will load, such as "10.3.0".

    Args:
        library: onnxruntime's provider library for TensorRT, which names the libnvinfer that it needs.

    Raises:
        DeviceError: there is none.
    """
    try:
        return version_of_tensorrt(tensorrt_library(library) or "libnvinfer.so")
    except OSError as problem:
        raise DeviceError(
            f"expected TensorRT, found that it does not load: {problem}; install the version that onnxruntime needs, "
            "and add its folder to LD_LIBRARY_PATH"
        ) from None


def tensorrt_library(library: Path) -> str:
    """The libnvinfer that onnxruntime was built for, such as "libnvinfer.so.10"; empty if it does not say.

    Args:
        library: onnxruntime's provider library for TensorRT.

    Raises:
        OSError: it cannot be read.
    """
    with library.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return ""
        with data:
            wanted = re.search(rb"libnvinfer\.so\.[0-9]+", data)
            return "" if wanted is None else wanted.group().decode()


def version_of_tensorrt(name: str) -> str:
    """Version of a TensorRT that the loader finds, such as "10.3.0".

    Args:
        name: of its library, such as "libnvinfer.so.10".

    Raises:
        OSError: it does not load, or is none.
    """
    try:
        number = int(_load(name).getInferLibVersion())
    except AttributeError as problem:
        raise OSError(str(problem)) from None
    unit = 10_000 if number >= 10_000 else 1_000  # 10.3.0 is 100300; 8.6.1 was 8601
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def why_not_loaded(library: Path) -> str:
    """The loader's reason why a library does not load; empty if it loads.

    Call this only after onnxruntime has tried to load the library: its providers need onnxruntime to be loaded first.
    """
    if not hasattr(os, "RTLD_NOLOAD"):  # Windows
        return ""
    try:
        _load(str(library), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:
        pass  # the library is not loaded, so loading it has failed
    else:
        return ""
    try:
        _load(str(library))
    except OSError as problem:
        return str(problem)
    return ""


def _load(name: str, *, mode: int = ctypes.DEFAULT_MODE) -> Any:
    return ctypes.CDLL(name, mode=mode)


def _must(driver: Any, code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        says = (text.value or b"").decode(errors="replace")
        raise DeviceError(f"expected a GPU, NVIDIA's driver says: {says or 'an error'} ({code})")
