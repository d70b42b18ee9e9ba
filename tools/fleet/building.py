"""Building what a plan lacks, and laying every bundle where it belongs.

What is known is taken from the cache. Of the rest, each bundle is a task of its own; those in shards are built one
after the other, with their shards as tasks. A bundle that fails does not stop the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spade_edge.galleries.progress import Progress
from spade_edge.runtime.errors import DataError, SpadeError, UsageError
from spade_edge.tools.fleet.cache import BUNDLES, Cache, Content, Made
from spade_edge.tools.fleet.executors import Executor, Task
from spade_edge.tools.fleet.keys import software
from spade_edge.tools.fleet.laying import BY_HAND, NEW, Standing, lay, standing
from spade_edge.tools.fleet.plan import BundlePlan, FleetPlan
from spade_edge.tools.fleet.scratch import scratch
from spade_edge.tools.fleet.settings import to_json
from spade_edge.tools.fleet.sharding import Shards
from spade_edge.tools.fleet.tasks import build_bundle, built_into
from spade_edge.tools.fleet.work import Preparation, Work
from spade_edge.tools.remote import shown

BUILT, KNOWN, TO_BUILD, FAILED = "built", "from the cache", "to be built", "failed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """What became of a bundle, or would.

    Attributes:
        name: of the bundle.
        state: BUILT or KNOWN (taken from the cache) if it was laid, UNCHANGED if it was there, BY_HAND if it was there
            and people have changed it since, TO_BUILD if nothing was done yet, FAILED.
        path: of the bundle.
        key: of the work; empty if it has none because its images cannot be reached.
        manifest: SHA-256 of the wanted manifest; None if it is not known.
        message: why it failed, or what people have changed; empty otherwise.
        facts: about the build, see `tasks.built_into`.
    """

    name: str
    state: str
    path: Path
    key: str = ""
    manifest: str | None = None
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        """Whether the bundle is in its place."""
        return self.state not in (FAILED, TO_BUILD)


Report = Callable[[Row], None]


def survey(
    plan: FleetPlan, *, only: Sequence[str] = (), progress: Progress = lambda items, label: items
) -> tuple[Row, ...]:
    """What a build would do.

    Args:
        plan: of the fleet.
        only: names of bundles; all if it is empty.
        progress: wraps the images that are hashed, with a label.

    Raises:
        UsageError: a name that the plan does not have.
        DataError: the cache cannot be reached.
    """
    rows = []
    with scratch() as folder:
        fleet = _Fleet(plan, folder, progress)
        for bundle, work in fleet.works(only):
            if isinstance(work, Row):
                rows.append(work)
                continue
            made = fleet.cache.made(BUNDLES, work.key)
            row = Row(bundle.name, TO_BUILD, fleet.place(bundle), work.key) if made is None else fleet.known(work, made)
            rows.append(row)
    return tuple(rows)


def build_fleet(
    plan: FleetPlan,
    start: Callable[[], Executor],
    *,
    only: Sequence[str] = (),
    report: Report = lambda row: None,
    progress: Progress = lambda items, label: items,
) -> tuple[Row, ...]:
    """Build what a plan lacks, and lay every bundle in its place.

    Args:
        plan: of the fleet.
        start: an executor, which is started only if something has to be built, and closed at the end.
        only: names of bundles; all if it is empty.
        report: is told what became of each bundle as soon as it is known.
        progress: wraps the items of each long loop in this process, with its label.

    Returns:
        what became of each bundle, in the order of the plan.

    Raises:
        UsageError: a name that the plan does not have.
        DataError: the cache cannot be reached.
        DeviceError: the executor lacks something.
    """
    rows: dict[str, Row] = {}

    def tell(row: Row) -> None:
        rows[row.name] = row
        report(row)

    with scratch(plan.output) as folder:
        fleet = _Fleet(plan, folder, progress)
        lacking: dict[str, list[Work]] = {}
        for _, work in fleet.works(only):
            row = work if isinstance(work, Row) else fleet.laid(work)
            if row is not None:
                tell(row)
            elif isinstance(work, Work):
                lacking.setdefault(work.key, []).append(work)
        if lacking:
            with closing(start()) as executor:
                for works, made in fleet.made(list(lacking.values()), executor):
                    for work in works:
                        tell(made if isinstance(made, Row) else fleet.laid(work, made) or fleet.lost(work))
    return tuple(rows[bundle.name] for bundle in plan.bundles if bundle.name in rows)


@dataclass
class _Fleet:
    """A build that is under way.

    Attributes:
        plan: of the fleet.
        folder: for files that are needed meanwhile.
        progress: wraps the items of long loops, with a label.
    """

    plan: FleetPlan
    folder: Path
    progress: Progress
    _models: dict[Path, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache = Cache(self.plan.cache)

    def place(self, bundle: BundlePlan) -> Path:
        return self.plan.output / f"{bundle.name}.spade"

    def works(self, only: Sequence[str]) -> Iterator[tuple[BundlePlan, Work | Row]]:
        """The work of each bundle, or why there is none."""
        names = [bundle.name for bundle in self.plan.bundles]
        if unknown := [name for name in only if name not in names]:
            raise UsageError(
                f"expected names of bundles ({', '.join(names)}), found {unknown[0]!r}; "
                "correct the name, or add a table [[bundle]] to the plan"
            )
        preparation = Preparation(self.folder, self.progress)
        for bundle in self.plan.bundles:
            if not only or bundle.name in only:
                try:
                    yield bundle, preparation.work(bundle)
                except SpadeError as problem:
                    yield bundle, Row(bundle.name, FAILED, self.place(bundle), message=str(problem))

    def known(self, work: Work, made: Made, *, state: str = KNOWN) -> Row:
        """What laying a bundle that was made would do, or has done."""
        place = self.place(work.bundle)
        try:
            found = standing(place, str(made.facts.get("manifest")))
        except SpadeError as problem:
            return self._failed(work, str(problem))
        return self._row(work, made, state if found.state == NEW else found.state, _note(work, found))

    def laid(self, work: Work, made: Made | None = None) -> Row | None:
        """Lay a bundle; None if it has to be built, because it is not in the cache, or damaged there."""
        state = KNOWN if made is None else BUILT
        made = made or self.cache.made(BUNDLES, work.key)
        if made is None:
            return None
        row = self.known(work, made, state=state)
        if row.state != state:
            return row
        packed = self.folder / f"{work.bundle.name}-{work.key[:16]}.tar"
        try:
            self.cache.fetch(made.content, packed)
        except DataError as problem:
            log.warning("%s: %s; it is built anew", work.bundle.name, problem)
            return None
        try:
            lay(packed, row.path)
        except SpadeError as problem:
            return self._failed(work, str(problem))
        return row

    def lost(self, work: Work) -> Row:
        """A bundle that was built, and is not in the cache any more."""
        return self._failed(work, "it was built, and has been removed or damaged in the cache since; run this again")

    def made(self, lacking: list[list[Work]], executor: Executor) -> Iterator[tuple[list[Work], Made | Row]]:
        """Build; works of the same key are built once."""
        whole = {works[0].key: works for works in lacking if works[0].bundle.shards == 1}
        tasks = (self._task(works[0], executor) for works in whole.values())
        for outcome in executor.outcomes(tasks):
            works = whole[outcome.task.arguments["key"]]
            if outcome.failure is None:
                yield works, Made(Content(**outcome.result["content"]), outcome.result["facts"])
            else:
                for work in works:
                    yield [work], self._failed(work, outcome.failure.message)
        for works in lacking:
            if works[0].bundle.shards > 1:
                try:
                    yield works, self._in_shards(works[0], executor)
                except SpadeError as problem:
                    for work in works:
                        yield [work], self._failed(work, str(problem))

    def _task(self, work: Work, executor: Executor) -> Task:
        arguments = {
            "cache": self.cache.address,
            "key": work.key,
            "images": shown(work.bundle.images),
            "entries": [asdict(entry) for entry in work.entries],
            "model": asdict(self._model(work)),
            "source": shown(work.bundle.model),
            "options": to_json(work.options),
            "files": {role: asdict(self.cache.put(at)) | {"suffix": at.suffix} for role, at in work.files.items()},
            "threads": executor.threads,
            "versions": software(),
        }
        return Task(work.bundle.name, build_bundle, arguments)

    def _in_shards(self, work: Work, executor: Executor) -> Made:
        with scratch(self.folder) as folder:
            model, source = self._model(work), shown(work.bundle.model)
            shards = Shards(self.cache, executor, work.bundle.shards, model, source, folder)
            made = built_into(
                self.cache,
                work.key,
                work.entries,
                images=shown(work.bundle.images),
                model=work.model,
                source=source,
                options=work.options,
                folder=folder,
                encode=shards,
                more=lambda: {"parts": shards.facts},
                progress=self.progress,
            )
            try:
                shards.forget()
            except DataError as problem:
                log.warning("%s: its parts stay in the cache: %s", work.bundle.name, problem)
            return made

    def _model(self, work: Work) -> Content:
        if work.model not in self._models:
            self._models[work.model] = self.cache.put(work.model)
        return self._models[work.model]

    def _row(self, work: Work, made: Made, state: str, message: str) -> Row:
        manifest = str(made.facts.get("manifest"))
        return Row(work.bundle.name, state, self.place(work.bundle), work.key, manifest, message, made.facts)

    def _failed(self, work: Work, message: str) -> Row:
        return Row(work.bundle.name, FAILED, self.place(work.bundle), work.key, message=message)


def _note(work: Work, found: Standing) -> str:
    """What a user should know about changes by hand; empty if there are none."""
    if found.state == BY_HAND:
        return f"{found.words}; it stays as it is, and 'spade-edge gallery log' tells how to go back"
    if found.state == NEW and found.by_hand:
        return f"replaces what was changed by hand ({found.words}); 'spade-edge gallery undo' brings it back"
    return ""
