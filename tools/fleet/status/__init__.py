"""What the devices of a plant say of themselves.

report       what a heartbeat or a report of a line says; nothing in it is believed to be well formed
folder       reports in a folder
place        the address of an MQTT broker, and of the topics that lines speak on
broker       heartbeats at an MQTT broker; the only module of this room that imports paho
attention    which lines need somebody, each with one sentence that says why
page         a page of them
"""

from __future__ import annotations

from spade_edge.tools.fleet.status.attention import Expected, Row, Status, status
from spade_edge.tools.fleet.status.folder import reports_in
from spade_edge.tools.fleet.status.report import CameraReport, LineReport, Skipped, read_report

__all__ = [
    "CameraReport",
    "Expected",
    "LineReport",
    "Row",
    "Skipped",
    "Status",
    "read_report",
    "reports_in",
    "status",
]
