"""The products: each a bundle that is followed, and one network for all that have the same model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from weakref import WeakSet, WeakValueDictionary

from spade_edge.runtime import FollowingScorer, Provider, Scorer, UsageError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.network.protocol import Network
from spade_edge.tools.line.configuration.options import LineOptions, RecipeOptions
from spade_edge.tools.line.pull_report import PullReport
from spade_edge.tools.line.state import OFF, PASSED, Pulled

log = logging.getLogger(__name__)

Model = tuple[str, int]  # SHA-256 of the model, and the number of views for which its session is open


class Networks:
    """The networks that are open. Each is closed with the last scorer that uses it.

    Attributes:
        open: each by its model.
        tested: those with which golden frames were scored.
    """

    def __init__(self) -> None:
        self.open: WeakValueDictionary[Model, Network] = WeakValueDictionary()
        self.tested: WeakSet[Network] = WeakSet()


class Recipe:
    """A product and the newest generation of its bundle that may be used.

    Args:
        name: of the product.
        options: its part of the configuration.
        line: what runs the network, and the keys by which bundles may be opened.
        networks: those that are open already; it adds its own.

    Raises:
        SpadeError: the bundle cannot be opened, or was signed with none of the keys.
    """

    def __init__(self, name: str, options: RecipeOptions, *, line: LineOptions, networks: Networks) -> None:
        self.name, self.options = name, options
        self._networks = networks
        self._open = partial(
            Scorer.open,
            options.bundle,
            providers=Provider(line.provider),
            threads=line.threads,
            even_so=options.even_so,
        )
        self._pull_report = None if options.pull_report is None else PullReport(options.pull_report)
        self._following = FollowingScorer(options.bundle, self._reopen, check=_permitted(line))

    def newest(self) -> Scorer:
        """The scorer of the newest generation; ask between two frames. It never waits."""
        return self._following.newest()

    @property
    def scorer(self) -> Scorer:
        """The scorer of the generation in force."""
        return self._following.scorer

    @property
    def refused(self) -> str:
        """Why the generation on the disk is not in force; empty if it is."""
        return self._following.refused

    @property
    def self_test(self) -> str:
        """Whether the golden frames were scored with the network in force on this machine."""
        return PASSED if self.scorer.session in self._networks.tested else OFF

    @property
    def pulled(self) -> Pulled | None:
        """What came of the last pull from a registry, as of the last look; None if it is not known."""
        return None if self._pull_report is None else self._pull_report.last

    def look(self) -> None:
        """Look what the last pull has reported."""
        if self._pull_report is not None:
            self._pull_report.look()

    def close(self) -> None:
        """Look for no further generation."""
        self._following.close()

    def _reopen(self, *, manifest_sha256: str, network: Network | None) -> Scorer:
        """Open a generation, on a network that is open already where one fits."""
        manifest = Manifest.read(self.options.bundle, sha256=manifest_sha256)
        model = (manifest.files["model"].sha256, len(manifest.layout))
        network = self._networks.open.get(model) if network is None else network
        # A bundle with a network that is in use needs no test of this machine, which would take the network from the
        # frames of the line.
        self_test = self.options.self_test and network is None
        scorer = self._open(manifest_sha256=manifest_sha256, network=network, self_test=self_test)
        self._networks.open.setdefault(model, scorer.session)
        if self_test:
            self._networks.tested.add(scorer.session)
        return scorer


class Recipes:
    """All products of a line.

    Args:
        options: name to options.
        line: what holds for all.
        former: those that are open already; what has not changed is taken over.

    Raises:
        SpadeError: one of the bundles cannot be opened. Those of `former` stay open.
    """

    def __init__(
        self, options: Mapping[str, RecipeOptions], *, line: LineOptions, former: Recipes | None = None
    ) -> None:
        self._networks: Networks = Networks() if former is None else former._networks
        kept = {} if former is None else former._recipes
        self._recipes: dict[str, Recipe] = {}
        try:
            for name, chosen in options.items():
                if name in kept and kept[name].options == chosen:
                    self._recipes[name] = kept[name]
                else:
                    self._recipes[name] = Recipe(name, chosen, line=line, networks=self._networks)
        except BaseException:
            self.close(but=former)
            raise

    def __getitem__(self, name: str) -> Recipe:
        """A product.

        Raises:
            UsageError: there is none of this name.
        """
        try:
            return self._recipes[name]
        except KeyError:
            known = ", ".join(self._recipes)
            raise UsageError(f"expected a recipe among {known}, found '{name[:64]}'") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the order of the configuration."""
        return tuple(self._recipes)

    def look(self) -> None:
        """Put new generations in force also where no frames are scored."""
        for name, recipe in self._recipes.items():
            recipe.look()
            before, refused = recipe.scorer.bundle.digest, recipe.refused
            bundle = recipe.newest().bundle
            if bundle.digest != before:
                said = f"{bundle.digest[:SHORT]}… instead of {before[:SHORT]}…: {bundle.manifest.threshold.sentence()}"
                log.warning("recipe %s: frames are judged by %s", name, said)
            elif refused and not recipe.refused:
                log.warning("recipe %s: the bundle on the disk is the one in force again", name)

    def close(self, *, but: Recipes | None = None) -> None:
        """Look for no further generation, except of the products that `but` has as well."""
        kept = set() if but is None else set(but._recipes.values())
        for recipe in self._recipes.values():
            if recipe not in kept:
                recipe.close()


def _permitted(line: LineOptions) -> Callable[[Path], str]:
    """What gives the SHA-256 of a manifest that may be opened."""
    if not line.require_signature:
        from spade_edge.runtime.bundle.manifest_file import manifest_bytes

        return lambda path: manifest_bytes(path)[1]
    from spade_edge.tools.signing.signing import read_keys, signed_manifest

    return partial(signed_manifest, keys=read_keys(line.require_signature))
