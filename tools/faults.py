"""What to say about an exception that ends a command or a task, and the exit code for it."""

from __future__ import annotations

from spade_edge.runtime.errors import DataError, DeviceError, SpadeError
from spade_edge.tools.memory import shortage

INTERNAL_FAULT = 70  # a fault of spade-edge itself, as sysexits.h numbers it


def explained(problem: Exception, *, saving: str) -> tuple[str, int]:
    """An exception in one line, and the exit code.

    Args:
        problem: of any package.
        saving: what needs less memory, such as "use fewer images".
    """
    if lack := shortage(problem):
        return f"{lack}; {saving}", DeviceError.exit_code
    if isinstance(problem, SpadeError):
        return str(problem), problem.exit_code
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        return f"{where}{problem.strerror or problem}", DataError.exit_code
    said = " ".join(str(problem).split())
    return f"an internal error in spade-edge, {type(problem).__name__}: {said}", INTERNAL_FAULT
