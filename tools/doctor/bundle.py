"""Checks a bundle by its header alone: are its files complete, and does its model suit this machine."""

from __future__ import annotations

from pathlib import Path

from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.errors import BundleError
from spade_edge.runtime.matching.device_search import cpu_only
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.network.tensorrt import computes
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding
from spade_edge.tools.doctor.providers import CUDA, TENSORRT, Providers

KIND = "bundle"


def read(folder: Path) -> Manifest | Finding:
    """The manifest, or a finding that says what is wrong with it."""
    try:
        return Manifest.read(folder)
    except BundleError as problem:
        return Finding(
            KIND,
            "header",
            PROBLEM,
            str(problem),
            "give a complete folder that 'spade-edge build' of this version wrote",
        )


def payload(manifest: Manifest) -> int:
    """Bytes that scoring may keep in memory: all files but the golden frames, which only a self-test reads."""
    return sum(file.size for role, file in manifest.files.items() if not role.startswith("golden"))


def findings(folder: Path, manifest: Manifest, providers: Providers) -> list[Finding]:
    """Header, matching, files and precision."""
    return [
        _header(manifest),
        _matching(manifest, providers),
        _files(folder, manifest),
        _precision(manifest.model, providers),
    ]


def _header(manifest: Manifest) -> Finding:
    card, views = manifest.model, len(manifest.layout)
    size = f"{card.view.size[1]}x{card.view.size[0]}"
    return Finding(
        KIND,
        "header",
        OK,
        f"{card.backbone} {card.precision}, {views} view{'s' if views > 1 else ''} of {size}, "
        f"{len(manifest.names)} good images, {manifest.size / 1e6:.0f} MB, written by {manifest.writer}",
    )


def _matching(manifest: Manifest, providers: Providers) -> Finding:
    """How cells are matched, and why; and whether a GPU that works here leaves them to the CPU."""
    found, reason = manifest.place.reason, cpu_only(manifest.matching, manifest.model)
    if reason and _gpus(providers):
        return Finding(
            KIND,
            "matching",
            NOTE,
            f"{found}; {reason}: matched on the CPU although a GPU works here",
            "build with profile edge, without --neighbours and with --kappa 1, to match on the GPU",
        )
    return Finding(KIND, "matching", OK, found)


def _gpus(providers: Providers) -> list[str]:
    """The providers on a GPU that work here."""
    return [label for label, provider in (("cuda", CUDA), ("tensorrt", TENSORRT)) if providers.works(provider)]


def _files(folder: Path, manifest: Manifest) -> Finding:
    name = "files"
    for file in manifest.files.values():
        try:
            size = (folder / file.name).stat().st_size
        except OSError as problem:
            found = f"{file.name}: {problem.strerror}"
        else:
            if size == file.size:
                continue
            found = f"{file.name} has {size} bytes instead of {file.size}"
        return Finding(KIND, name, PROBLEM, found, "copy the bundle again, or rebuild it")
    return Finding(
        KIND, name, OK, f"{len(manifest.files)}, all present with the right size; scoring checks their SHA-256"
    )


def _precision(card: ModelCard, providers: Providers) -> Finding:
    """Whether the precision of the model is fast, and exact, on the providers that work here."""
    name, precision, target = "precision", card.precision, str(card.quantization.get("target"))
    gpus = _gpus(providers)
    if precision == "fp16" and not gpus:
        return Finding(
            KIND,
            name,
            NOTE,
            "fp16, but no GPU works here: most CPUs convert to fp32 and back, which costs time",
            "export with --precision fp32 or int8 for the CPU, and rebuild the bundle",
        )
    if precision == "int8" and target == "tensorrt" and "tensorrt" not in gpus:
        return Finding(
            KIND,
            name,
            NOTE,
            "int8 for TensorRT, which does not work here: elsewhere such a model is slow, and its results may be wrong",
            "export with --target cpu, or with --precision fp16 or fp32 for cuda, and rebuild the bundle",
        )
    if precision == "int8" and target == "cpu" and gpus:
        return Finding(
            KIND,
            name,
            NOTE,
            f"int8 for the CPU; {' and '.join(gpus)} work here, but would not be faster with this model",
            "use --provider cpu; or for the GPU, export with --precision fp16, or int8 with --target tensorrt",
        )
    version = providers.tensorrt.version
    made = (
        f"; TensorRT {version} computes {computes(precision, version=version)}"
        if "tensorrt" in gpus and version
        else ""
    )
    return Finding(KIND, name, OK, f"{precision}, for {', '.join(['cpu', *gpus])}{made}")
