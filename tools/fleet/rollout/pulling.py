"""A bundle from a registry, taken or refused: fetched, verified, tried, and only then put in force.

In this order: the manifest and its signatures; the signature, before anything else is read; images that this device was
taught and the bundle lacks; the files; then it is opened as the line would, with every hash, scores its golden frames
and recent frames of the line; and is published as any new generation is. Whatever fails or is killed on the way, the
bundle in force stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spade_edge.galleries.disk import flush
from spade_edge.galleries.generation_log import Change, read_log
from spade_edge.galleries.history import kept_manifests
from spade_edge.galleries.output import check_output
from spade_edge.galleries.signature_files import FOLDER
from spade_edge.galleries.staging import publish, staging
from spade_edge.runtime import BundleError, DataError, DeviceError, ModelError, Scorer
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.manifest_file import SHORT, manifest_bytes
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.network.protocol import Network
from spade_edge.tools.fleet.laying import standing
from spade_edge.tools.fleet.rollout.arrival import Tell, arriving, clear, discard, fetch_manifest, fetch_payload, link
from spade_edge.tools.fleet.rollout.report import Rollout, now, shadow_sentence
from spade_edge.tools.fleet.rollout.rules import Device, Recent, Rules
from spade_edge.tools.fleet.rollout.trial import Trial, trial
from spade_edge.tools.registry import Artifact, Reference, Registry, artifact_of
from spade_edge.tools.signing.signing import signed_manifest

PULL = "pull"  # verb in the log of a bundle
SHOWN = 5  # names in a message
UNDO = "'spade-edge gallery undo' brings it back"


class RefusedError(DataError):
    """A bundle does not keep to the rules."""


def pull(
    registry: Registry,
    reference: Reference,
    bundle: str | os.PathLike[str],
    *,
    rules: Rules | None = None,
    device: Device | None = None,
    recent: Recent | None = None,
    tell: Tell = lambda line: None,
) -> Rollout:
    """Put a bundle of a registry in force on this device, if it proves itself.

    Args:
        registry: where it is.
        reference: NAME:TAG or NAME@DIGEST.
        bundle: the bundle folder, which need not exist.
        rules: when it is taken.
        device: what it is scored with.
        recent: frames of the line on which it is compared with the bundle in force; None for none.
        tell: is told each larger file that is fetched.

    Returns:
        what came of it, also if it was refused.

    Raises:
        MissingError: there is no such bundle.
        UsageError: something other than a bundle is at `bundle`.
        DataError: the registry cannot be read or gives something else than it says, the bundle cannot be written, or
            was changed meanwhile. What was fetched is kept for the next try.
    """
    return _Pull(
        registry, reference, Path(bundle), rules=rules or Rules(), device=device or Device(), recent=recent, tell=tell
    ).done()


class _Pull:
    """One pull; see `pull`."""

    def __init__(
        self,
        registry: Registry,
        reference: Reference,
        bundle: Path,
        *,
        rules: Rules,
        device: Device,
        recent: Recent | None,
        tell: Tell,
    ) -> None:
        check_output(bundle)
        self._registry, self._reference = registry, reference
        self._bundle = bundle.resolve()  # a link on the way to a bundle stays a link
        self._rules, self._device, self._recent, self._tell = rules, device, recent, tell
        self._name = str(reference)
        self._former, self._in_force = _in_force(self._bundle)
        if recent is not None and not recent.folder.is_dir():
            raise DataError(f"{recent.folder}: expected a folder with evidence, found none")

    def done(self) -> Rollout:
        artifact = artifact_of(self._registry, self._reference)
        rollout = Rollout(
            name=self._name,
            registry=self._registry.address,
            wanted=artifact.bundle,
            artifact=artifact.digest,
            in_force=self._in_force,
            at=now(),
        )
        with arriving(self._bundle) as folder:
            try:
                if artifact.bundle == self._in_force:
                    self._add_signatures(artifact, folder)
                    if self._rules.keys:
                        signed_manifest(self._bundle, self._rules.keys)
                    rollout = replace(rollout, accepted=True)
                else:
                    rollout = self._take(artifact, folder, rollout)
            except (BundleError, ModelError, DeviceError, RefusedError) as problem:
                clear(folder)  # it will not be taken at the next try either
                rollout = replace(rollout, reason=str(problem).replace(str(folder), self._name))
            if rollout.accepted or rollout.reason:
                discard(folder)
        return rollout

    def _take(self, artifact: Artifact, folder: Path, rollout: Rollout) -> Rollout:
        """Fetch, verify, try and publish.

        Raises:
            BundleError, ModelError, DeviceError, RefusedError: the bundle is not to be taken.
            DataError: see `pull`.
        """
        name, source = self._reference.name, f"{self._registry.address}: {self._name}"
        manifest, first = fetch_manifest(self._registry, name, artifact, folder, source=source)
        if self._rules.keys:
            signed_manifest(folder, self._rules.keys)
        self._check_taught(manifest)
        fetched = first + fetch_payload(
            self._registry, name, manifest, folder, bundle=self._bundle, source=source, tell=self._tell
        )
        found = self._tried(artifact, manifest, folder)
        if reason := _breach(found, self._rules):
            clear(folder)
            return _with(replace(rollout, reason=reason, fetched=fetched), found)
        if self._former is not None and (by_hand := standing(self._bundle, artifact.bundle).words):
            found = replace(found, notes=(*found.notes, f"what was changed here is replaced ({by_hand}): {UNDO}"))
        self._publish(artifact, manifest, folder)
        return _with(
            replace(rollout, accepted=True, changed=True, in_force=artifact.bundle, fetched=fetched, at=now()), found
        )

    def _tried(self, artifact: Artifact, manifest: Manifest, folder: Path) -> Trial:
        """Open the bundle as the line would, and try it. Nothing of it is open any more at the end."""
        former, problem = None, ""
        if self._former is not None and self._recent is not None:
            try:
                former = self._opened(self._bundle, self._in_force)
            except (BundleError, ModelError, DeviceError) as failure:
                problem = f"the bundle in force cannot be opened: {failure}"
        network = None
        if former is not None and _runs_on_one_network(former.bundle.manifest, manifest):
            network = former.session
        new = self._opened(folder, artifact.bundle, network=network)
        generations = {self._in_force[:SHORT], *(kept.short for kept in kept_manifests(self._bundle))} - {""}
        found = trial(new, former, self._recent, generations=frozenset(generations))
        return replace(found, notes=(*found.notes, problem)) if problem else found

    def _opened(self, folder: Path, digest: str, *, network: Network | None = None) -> Scorer:
        device = self._device
        return Scorer.open(
            folder,
            providers=device.provider,
            allow_fallback=device.allow_fallback,
            threads=device.threads,
            even_so=device.even_so,
            manifest_sha256=digest,
            network=network,
        )

    def _check_taught(self, manifest: Manifest) -> None:
        """Refuse a bundle that lacks what this device was taught.

        Raises:
            RefusedError: it lacks some images.
        """
        if self._rules.even_so or self._former is None:
            return
        there = {image.name for image in manifest.images}
        lost = [one.name for one in self._former.images if one.taught is not None and one.included]
        lost = [name for name in lost if name not in there]
        if lost:
            raise RefusedError(
                f"expected a bundle with the images that this device was taught, found that it lacks {len(lost)} of "
                f"them ({_named(lost)}); push the bundle of this device first, or pull with --even-so to give them up"
            )

    def _publish(self, artifact: Artifact, manifest: Manifest, folder: Path) -> None:
        """Put the bundle in force, in one step."""
        reason = f"{self._name} {artifact.digest[:SHORT]} from {self._registry.address}"
        with staging(self._bundle, before=self._former) as stage:
            for role, payload in manifest.files.items():
                place = stage.folder / payload.name
                link(folder / payload.name, place)
                if not (self._bundle / payload.name).exists():
                    flush(place)
                stage.files[role] = payload
            for path in sorted((folder / FOLDER).glob("*.json")):
                (stage.folder / FOLDER).mkdir(exist_ok=True)
                shutil.copyfile(path, stage.folder / FOLDER / path.name)
                flush(stage.folder / FOLDER / path.name)
                stage.beside.append(f"{FOLDER}/{path.name}")
            stage.add_manifest_bytes((folder / FILE).read_bytes())
            publish(stage, self._bundle, Change(PULL, reason))

    def _add_signatures(self, artifact: Artifact, folder: Path) -> None:
        """Signatures of the bundle in force that came later are taken as well."""
        lacking = [layer.title for layer in artifact.layers if layer.title.startswith(f"{FOLDER}/")]
        lacking = [title for title in lacking if not (self._bundle / title).exists()]
        if not lacking:
            return
        source = f"{self._registry.address}: {self._name}"
        fetch_manifest(self._registry, self._reference.name, artifact, folder, source=source)
        for title in lacking:
            place = self._bundle / title
            place.parent.mkdir(exist_ok=True)
            flush(folder / title)
            (folder / title).replace(place)
            flush(place.parent)


def pulled_and_left(bundle: Path, wanted: str) -> bool:
    """Whether people at the device have left a bundle that was pulled: it was the last one, and is not in force.

    Args:
        bundle: the bundle folder.
        wanted: SHA-256 of the manifest that a channel points at.

    Raises:
        BundleError: the log of the bundle is damaged.
    """
    pulled = [line.manifest for line in read_log(bundle).lines if line.verb == PULL]
    return bool(pulled) and pulled[-1] == wanted != digest_in_force(bundle)


def digest_in_force(bundle: Path) -> str:
    """SHA-256 of the manifest in force; empty if there is none."""
    try:
        return sha256(bundle / FILE)
    except OSError:
        return ""


def _in_force(bundle: Path) -> tuple[Manifest | None, str]:
    """The manifest in force and its SHA-256; None if there is none that can be read."""
    try:
        raw, digest = manifest_bytes(bundle)
    except BundleError:
        return None, ""
    try:
        return Manifest.from_text(raw), digest
    except BundleError:
        return None, digest


def _runs_on_one_network(former: Manifest, new: Manifest) -> bool:
    return former.files["model"] == new.files["model"] and len(former.layout) == len(new.layout)


def _breach(found: Trial, rules: Rules) -> str:
    """Why a bundle is refused after its trial; empty if it is not."""
    shadow = found.shadow
    if shadow is not None and shadow.newly_rejected > rules.most_changes * shadow.good:
        return (
            f"expected at most {100 * rules.most_changes:.3g} % of the recent good frames to be rejected, found that "
            f"{shadow_sentence(shadow)}; look at these frames ({_named(shadow.rejected)}), or allow more with "
            "--most-changes"
        )
    if rules.deadline_ms is not None and found.ms is not None and found.ms > rules.deadline_ms:
        return (
            f"expected half of the frames within {rules.deadline_ms:g} ms, found {found.ms:.0f} ms; "
            "build a smaller bundle, or allow more with --deadline"
        )
    return ""


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _with(rollout: Rollout, found: Trial) -> Rollout:
    return replace(rollout, shadow=found.shadow, golden=found.golden, ms=found.ms, notes=found.notes)
