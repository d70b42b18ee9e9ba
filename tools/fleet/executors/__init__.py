"""What runs the tasks of a fleet build.

task          a plain function and its arguments, and what comes of it
performing    runs a task, and turns every failure into a line
processes     processes on this machine
ray_cluster   the nodes of a Ray cluster
"""

from __future__ import annotations

from spade_edge.tools.fleet.executors.processes import Processes
from spade_edge.tools.fleet.executors.task import Executor, Failure, Outcome, Task

__all__ = ["Executor", "Failure", "Outcome", "Processes", "Task"]
