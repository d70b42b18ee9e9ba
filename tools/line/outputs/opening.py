"""Makes the output that a part of the configuration describes; its packages are imported only here and now."""

from __future__ import annotations

from spade_edge.runtime import UsageError
from spade_edge.tools.extras import packages_of
from spade_edge.tools.line.configuration.options import (
    OUTPUTS,
    FileOptions,
    GpioOptions,
    LineConfiguration,
    ModbusOptions,
    MqttOptions,
    OpcUaOptions,
    OutputOptions,
    ReportOptions,
    WebhookOptions,
)
from spade_edge.tools.line.outputs.output import Output
from spade_edge.tools.line.requests import Requests


def make_output(name: str, *, configuration: LineConfiguration, requests: Requests) -> Output:
    """An output that is not open yet.

    Args:
        name: of the output.
        configuration: the whole of it.
        requests: what controllers may ask of the line, where the options allow it.

    Raises:
        DeviceError: a package that it needs is not installed.
        UsageError: there is no such output.
    """
    options = configuration.outputs.get(name)
    if options is None:
        known = ", ".join(configuration.outputs) or "none"
        raise UsageError(f"expected an output of the configuration ({known}), found '{name[:64]}'")
    line, needed_by = configuration.line.name, f"output {name}"
    asked = requests if getattr(options, "commands", False) else None
    if isinstance(options, MqttOptions):
        with packages_of("mqtt", needed_by=needed_by):
            from spade_edge.tools.line.outputs.mqtt import MqttOutput

            return MqttOutput(options, name=name, line=line, configuration=configuration, requests=asked)
    if isinstance(options, OpcUaOptions):
        with packages_of("opcua", needed_by=needed_by):
            from spade_edge.tools.line.outputs.opc_ua import OpcUaOutput

            return OpcUaOutput(options, name=name, line=line, configuration=configuration, requests=asked)
    if isinstance(options, ModbusOptions):
        with packages_of("modbus", needed_by=needed_by):
            from spade_edge.tools.line.outputs.modbus import ModbusOutput

            return ModbusOutput(options, name=name, line=line, configuration=configuration, requests=asked)
    if isinstance(options, GpioOptions):
        with packages_of("gpio", needed_by=needed_by):
            from spade_edge.tools.line.outputs.gpio import GpioOutput

            return GpioOutput(options, name=name, line=line, configuration=configuration, requests=None)
    if isinstance(options, WebhookOptions):
        from spade_edge.tools.line.outputs.webhook import WebhookOutput

        return WebhookOutput(options, name=name, line=line, configuration=configuration, requests=None)
    if isinstance(options, FileOptions):
        from spade_edge.tools.line.outputs.record_file import FileOutput

        return FileOutput(options, name=name, line=line, configuration=configuration, requests=None)
    if isinstance(options, ReportOptions):
        from spade_edge.tools.line.outputs.report_file import ReportFile

        return ReportFile(options, name=name, line=line, configuration=configuration, requests=None)
    raise AssertionError(f"no output is made from {type(options).__name__}")


def kind_of(options: OutputOptions) -> str:
    """The value of `kind` that these options stand for."""
    return next(kind for kind, described in OUTPUTS.items() if described is type(options))
