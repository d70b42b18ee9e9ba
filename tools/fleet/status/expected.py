"""What ought to be there: the lines of a list, the products of a plan, and the bundles that a channel points at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.runtime.errors import DataError, SpadeError
from spade_edge.tools.fleet.status.attention import Expected
from spade_edge.tools.line.configuration.text import UnreadableError, document
from spade_edge.tools.registry import Reference, Registry, published
from spade_edge.tools.remote import UnreachableError

LARGEST = 16 << 20  # bytes of a list
PLAN = ".toml"


def read_expected(path: Path) -> Expected:
    """Read what is expected.

    Args:
        path: a plan (.toml), whose bundles are the products, or a list with the name of a line on each line.

    Raises:
        DataError: it cannot be read, or has none.
    """
    names = _products(path) if path.suffix.lower() == PLAN else _lines(path)
    if not names:
        what = "tables [[bundle]] with a name" if path.suffix.lower() == PLAN else "the name of a line on each line"
        raise DataError(f"{path}: expected {what}, found none")
    return Expected(recipes=names) if path.suffix.lower() == PLAN else Expected(lines=names)


def promoted(
    registry: Registry, recipes: Iterable[str], channel: str
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """What a channel points at.

    Args:
        registry: where bundles are published, each under the name of its product.
        recipes: names of products.
        channel: such as "production".

    Returns:
        name of a product to the first 16 digits of its bundle; the same of every version to its tags; and what could
        not be found out, one sentence each.

    Raises:
        UnreachableError: the registry does not answer; with hundreds of products, each try would take its time.
    """
    current: dict[str, str] = {}
    labels: dict[str, str] = {}
    problems: list[str] = []
    for recipe in sorted(set(recipes)):
        try:
            Reference.of(f"{recipe}:{channel}")
            versions, broken = published(registry, recipe)
        except UnreachableError:
            raise
        except SpadeError as problem:
            problems.append(str(problem))
            continue
        problems += broken
        for version in versions:
            digest = version.about.bundle[:SHORT]
            labels[digest] = ", ".join(
                (*version.channels, *(tag for tag in version.tags if tag not in version.channels))
            )
            if channel in version.tags:
                current[recipe] = digest
    if labels and not current:
        problems.append(
            f"{registry.address}: expected the channel {channel} of a product that a line judges, found none; "
            "'spade-edge fleet list' shows the channels"
        )
    return current, labels, problems


def _products(path: Path) -> tuple[str, ...]:
    try:
        bundles = document(path, missing="give the path of a plan, such as fleet.toml").values.get("bundle", [])
    except UnreadableError as problem:
        raise DataError(str(problem)) from None
    entries = bundles if isinstance(bundles, list) else []
    return tuple(str(each["name"]) for each in entries if isinstance(each, dict) and isinstance(each.get("name"), str))


def _lines(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8-sig")
    except OSError as problem:
        raise DataError(f"{path}: expected a list of lines, found that it cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a list of lines in UTF-8, found something else") from None
    if len(content) > LARGEST:
        raise DataError(f"{path}: expected a list of at most {LARGEST >> 20} MB, found more")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
