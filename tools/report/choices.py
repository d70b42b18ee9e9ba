"""The thresholds to choose from, what each would mean for the labelled images, and the image that decides."""

from __future__ import annotations

import numpy as np

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.threshold import CERTIFIED
from spade_edge.tools.drawing.overlay import figure
from spade_edge.tools.evaluation.choices import another, changes_without, exclude_command, percentage, set_command
from spade_edge.tools.evaluation.metrics import Rate
from spade_edge.tools.evaluation.results import Choice, Evaluation
from spade_edge.tools.report.page import counted, image, sentence, shortened, text
from spade_edge.tools.report.rates import percent


def choices(evaluation: Evaluation, bundle: Bundle) -> str:
    """A sentence in plain words, the table of thresholds, and the command that sets another one.

    Args:
        evaluation: the results.
        bundle: the bundle that was evaluated, for the picture of the image that decides.
    """
    other = another(evaluation.choices)
    commands = [] if other is None else [set_command(evaluation.header.bundle, other.rate)]
    decides = _deciding(evaluation, bundle)
    if evaluation.deciding is not None:
        commands.append(exclude_command(evaluation.header.bundle, evaluation.deciding))
    said = evaluation.header.caution
    caution = f'<p class="lead">{text(sentence(said))}</p>' if said else ""
    items = "".join(f"<li><code>{text(command)}</code></li>" for command in commands)
    listed = f'<ol class="commands">{items}</ol>' if items else ""
    return f"<p>{text(_in_words(evaluation, other))}</p>\n{_table(evaluation)}{decides}{caution}{listed}"


def _in_words(evaluation: Evaluation, other: Choice | None) -> str:
    """What another threshold would change."""
    defects = evaluation.missed.of
    unknown = "" if defects else " Without defective images it is not known how many defects each threshold lets pass."
    if other is None:
        return f"These good parts offer no other threshold.{unknown}"
    (now,) = (choice for choice in evaluation.choices if choice.in_force)
    upto = "at most" if other.basis == CERTIFIED else "about"
    changes = [f"{other.false_rejects.count} instead of {now.false_rejects.count} good images here would be rejected"]
    if defects:
        changes.append(f"{other.missed.count} instead of {now.missed.count} of {counted(defects, 'defect')} missed")
    return (
        f"A lower threshold finds more defects and rejects more good parts. At {figure(other.threshold)} instead of "
        f"{figure(now.threshold)}, {upto} {_promised(other)} of good parts are expected to be rejected; "
        f"{' and '.join(changes)}.{unknown}"
    )


def _table(evaluation: Evaluation) -> str:
    defects = bool(evaluation.missed.of)
    rows = []
    for choice in evaluation.choices:
        missed = f"<td>{_of(choice.missed)}</td>" if defects else ""
        now = " <b>in force</b>" if choice.in_force else ""
        rows.append(
            f'<tr><th scope="row">{_promised(choice)}{now}</th><td>{text(figure(choice.threshold))}</td>'
            f'<td>{_of(choice.false_rejects)}</td>{missed}<td class="span">{text(choice.basis)}</td></tr>'
        )
    missed = '<th scope="col">Defects missed</th>' if defects else ""
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">False rejects</th><th scope="col">Threshold</th>'
        f'<th scope="col">Good rejected</th>{missed}<th scope="col">Basis</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _deciding(evaluation: Evaluation, bundle: Bundle) -> str:
    """The good image that alone decides the threshold, with its picture, and what would change without it."""
    one, manifest = evaluation.deciding, bundle.manifest
    if one is None:
        return ""
    picture = ""
    if one.name in manifest.names and len(manifest.layout) == 1:
        thumbnail = np.array(bundle.thumbnails[manifest.names.index(one.name)])
        picture = image(thumbnail, alternative=f"The good image {one.name}", longest=160)
    return (
        f'<p class="nearest">{picture}<span>This threshold is the score of one good image, '
        f"{text(shortened(one.name))}. Without it the threshold would be about {text(figure(one.threshold))}: "
        f"{changes_without(evaluation)}. "
        "If it does not show a good part, exclude it.</span></p>"
    )


def _promised(choice: Choice) -> str:
    return percentage(choice.rate).replace("%", "\u202f%")


def _of(rate: Rate) -> str:
    return "–" if rate.fraction is None else f"{rate.count} of {rate.of} <small>({percent(rate.fraction)})</small>"
