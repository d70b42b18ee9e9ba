"""The options of the service at the line. Each class is a table of `line.toml`.

The metadata of a field is the one place where an option is described: the reader checks values against it, and the JSON
schema, the commented file that `spade-edge init` writes and the reference page are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spade_edge.runtime.geometry.view import LARGEST_SIDE

PASS, REJECT = "pass", "reject"  # what the gate does
FRAME, MESSAGE = "frame", "message"  # what a trigger is
FOREVER = 1_000_000.0  # seconds
SILENT_BEATS, SILENT_LEAST = 3, 1.0  # heartbeats that must be missing, and seconds


def option(
    about: str,
    *,
    default: Any = None,
    example: Any = None,
    required: bool = False,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    form: str = "",
) -> Any:
    """A field of an options class.

    Args:
        about: what it is, one or two sentences for the person who writes the file.
        default: its value if the file has none.
        example: a typical value, as it stands in the file, where there is no default that shows one.
        required: whether the file must have it.
        least: smallest number that is allowed.
        most: largest number that is allowed.
        choices: the texts that are allowed, for a text or for each entry of a list.
        unit: "size" for bytes, given as a number or as "20 GB"; "" for none.
        form: what a text must look like, a key of `description.FORMS`; "" for any.
    """
    metadata = {
        "about": about,
        "example": example,
        "required": required,
        "least": least,
        "most": most,
        "choices": choices,
        "unit": unit,
        "form": form,
    }
    return field(metadata=metadata) if required else field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """[line]: what holds for all cameras."""

    name: str = option("Name of the line, as it appears in every message.", default="line", form="name")
    fail_safe: str = option(
        "What the gate does with a part that is late, cannot be judged, or whose frame was lost.",
        default=REJECT,
        choices=(PASS, REJECT),
    )
    heartbeat_ms: int = option(
        "Milliseconds between two signs of life at every output.", default=1000, least=50, most=60_000
    )
    watchdog_s: float = option(
        "Seconds after which a camera, an output or the scoring that does not answer is reported as hung.",
        default=5.0,
        least=0.5,
        most=3600,
    )
    provider: str = option("What runs the network.", default="cpu", choices=("cpu", "cuda", "tensorrt", "auto"))
    threads: int | None = option("Threads for scoring; without it one per core.", example=4, least=1, most=1024)
    state: Path | None = option(
        "Folder in which the service keeps what it has learned of the line, so that drift is noticed across restarts.",
        example="state",
    )
    require_signature: tuple[Path, ...] = option(
        "Public keys; a bundle that was signed with none of them is not opened.", example=("line.pub",), default=()
    )

    @property
    def silence_s(self) -> float:
        """Seconds without a heartbeat after which the service must be taken for stopped."""
        return max(SILENT_LEAST, SILENT_BEATS * self.heartbeat_ms / 1000)


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """[recipe.NAME]: a product."""

    bundle: Path = option("Folder of the bundle that judges this product.", example="part.spade", required=True)
    number: int | None = option(
        "Number by which Modbus and other controllers choose this product; without it the recipes are numbered from 1 "
        "in the order of the file.",
        example=1,
        least=1,
        most=65_535,
    )
    even_so: bool = option(
        "Judge also frames whose colour, depth, shape or size differ from the good images.", default=False
    )
    self_test: bool = option(
        "Score the golden frames of the bundle before it is used, and refuse a machine that does not reproduce them.",
        default=True,
    )
    drift: bool = option("Watch for parts that look different from the first hundred.", default=True)
    pull_report: Path | None = option(
        "File that 'spade-edge fleet pull --report' writes for this product: what came of the last pull is then told "
        "in heartbeats and reports.",
        example="pulled.json",
    )


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """[camera.NAME]: a camera, its triggers and its deadline."""

    source: str = option(
        "Where frames come from, as for 'spade-edge score': a camera number, rtsp://…, genicam:SERIAL, csi://0, "
        "watch:FOLDER, or a file or folder for a trial.",
        example="0",
        required=True,
    )
    recipe: str = option("Name of the recipe that judges its frames at the start.", example="part", required=True)
    deadline_ms: int = option(
        "Milliseconds from the trigger to the decision. A part without a decision by then is late.",
        example=500,
        required=True,
        least=1,
        most=600_000,
    )
    trigger: str = option(
        "frame: each frame of the camera is a trigger, as with a camera that a light barrier triggers. message: a "
        "message to an output or to the page is a trigger, and the next frame is judged.",
        default=FRAME,
        choices=(FRAME, MESSAGE),
    )
    frame_after_ms: int = option(
        'With trigger = "message": frames that arrive sooner after the trigger were exposed before it and are not '
        "used.",
        default=0,
        least=0,
        most=60_000,
    )
    numbered: bool = option(
        'With trigger = "frame": a gap in the frame numbers of the camera means lost frames, each of which gets a '
        "decision. Only for cameras that number their frames.",
        default=True,
    )
    stall_s: float = option(
        "Seconds without a frame after which the camera is reported as silent; 0 for never, where the line may stand.",
        default=0.0,
        least=0,
        most=FOREVER,
    )
    frozen: int | None = option(
        "How many frames, identical bit for bit, count as a frozen camera; 0 for never.",
        example=5,
        least=0,
        most=1_000_000,
    )
    channels: str = option("Order of the channels of frames.", default="bgr", choices=("bgr", "rgb"))
    linescan: int | None = option(
        "Assemble strips of so many lines from the frames of a line-scan camera.",
        example=1024,
        least=1,
        most=LARGEST_SIDE,
    )
    line_overlap: int | None = option(
        "Lines that a strip shares with the one before.", example=64, least=0, most=LARGEST_SIDE
    )
    bits: int | None = option("How many of 16 bits the camera uses.", example=12, least=8, most=16)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What every output has."""

    cameras: tuple[str, ...] = option("Names of the cameras whose decisions go here; empty for all.", default=())
    queue: int = option(
        "Decisions that wait while the output does not take them; then the oldest is given up and counted.",
        default=1000,
        least=1,
        most=1_000_000,
    )


@dataclass(frozen=True, kw_only=True)
class MqttOptions(OutputOptions):
    """[output.NAME] kind = "mqtt": a broker, MQTT 5."""

    host: str = option("Host name or address of the broker.", example="192.168.0.10", required=True, form="host")
    port: int | None = option("Port; without it 1883, or 8883 with TLS.", example=1883, least=1, most=65_535)
    topic: str = option("What every topic begins with.", default="spade-edge", form="topic")
    qos: int = option("Quality of service of decisions: 0, 1 or 2.", default=1, least=0, most=2)
    client_id: str = option(
        "Name of this client at the broker; without it one is made from the names of the line and of this output.",
        default="",
    )
    username: str = option("User name.", default="")
    password_file: Path | None = option("File whose first line is the password.", example="password")
    tls: bool = option("Encrypt the connection.", default=False)
    ca_file: Path | None = option(
        "Certificates by which the broker is known; without it those of the system.", example="ca.pem"
    )
    cert_file: Path | None = option("Certificate of this client.", example="client.pem")
    key_file: Path | None = option("Private key of this client.", example="client.key")
    keepalive_s: int = option("Seconds after which a silent connection counts as lost.", default=10, least=1, most=3600)
    commands: bool = option("Take triggers and recipe changes from the broker.", default=False)


@dataclass(frozen=True, kw_only=True)
class OpcUaOptions(OutputOptions):
    """[output.NAME] kind = "opc_ua": an OPC UA server."""

    listen: str = option("Address and port that the server listens on.", default="127.0.0.1:4840", form="address")
    username: str = option("User name that clients must give; without it anyone may read.", default="")
    password_file: Path | None = option("File whose first line is the password.", example="password")
    cert_file: Path | None = option("Certificate of the server, to sign and encrypt.", example="server.pem")
    key_file: Path | None = option("Private key of the server.", example="server.key")
    commands: bool = option("Let clients trigger and change recipes.", default=False)


@dataclass(frozen=True, kw_only=True)
class ModbusOptions(OutputOptions):
    """[output.NAME] kind = "modbus": a Modbus/TCP server."""

    listen: str = option("Address and port that the server listens on.", default="127.0.0.1:5020", form="address")
    commands: bool = option("Let clients trigger and change recipes.", default=False)


@dataclass(frozen=True, kw_only=True)
class GpioOptions(OutputOptions):
    """[output.NAME] kind = "gpio": a line of a GPIO chip that works the gate."""

    chip: str = option("The chip, such as /dev/gpiochip0.", default="/dev/gpiochip0")
    line: int = option("Number of the line on the chip.", example=17, required=True, least=0, most=65_535)
    pulse_on: str = option(
        "Which parts give a pulse. pass is the safe way: a gate that opens only for parts that pass rejects when the "
        "computer is off.",
        default=PASS,
        choices=(PASS, REJECT),
    )
    delay_ms: int = option(
        "Milliseconds from the trigger to the pulse: the way of the part to the gate, at least the deadline of the "
        "cameras. 0: the pulse begins with the decision, for parts that wait at the gate.",
        default=0,
        least=0,
        most=600_000,
    )
    pulse_ms: int = option("Length of the pulse in milliseconds.", default=50, least=1, most=60_000)
    active_low: bool = option("Whether the line is low while it is active.", default=False)
    ready_line: int | None = option(
        "Number of a line that changes its level at each heartbeat, for a watchdog relay or an input of a PLC.",
        example=27,
        least=0,
        most=65_535,
    )


@dataclass(frozen=True, kw_only=True)
class WebhookOptions(OutputOptions):
    """[output.NAME] kind = "webhook": an HTTP server that gets each decision as JSON."""

    url: str = option(
        "Address, http:// or https://, that decisions are posted to.",
        example="https://mes.example/decisions",
        required=True,
        form="web",
    )
    verdicts: tuple[str, ...] = option(
        "Which decisions are posted; empty for all.", default=(), choices=("good", "defect", "cannot_judge", "late")
    )
    token_file: Path | None = option("File whose first line is sent as a bearer token.", example="webhook-token")
    timeout_s: float = option("Seconds that the server has for its answer.", default=5.0, least=0.1, most=300)
    tries: int = option("How often a decision is posted before it is given up.", default=10, least=1, most=1000)
    ca_file: Path | None = option(
        "Certificates by which the server is known; without it those of the system.", example="ca.pem"
    )


@dataclass(frozen=True, kw_only=True)
class FileOptions(OutputOptions):
    """[output.NAME] kind = "file": decisions as lines of a file."""

    path: Path = option(
        "The file; its name ends with .jsonl or .csv.", example="decisions.jsonl", required=True, form="records"
    )
    rotate: int = option("Size after which a new file is begun.", default=100_000_000, least=1000, unit="size")
    keep: int = option("Files that are kept beside the current one.", default=10, least=1, most=10_000)


@dataclass(frozen=True, kw_only=True)
class ReportOptions(OutputOptions):
    """[output.NAME] kind = "report": the state of the line as a file, for 'spade-edge fleet status'."""

    path: Path = option(
        "The file, in a folder that exists, such as a share of the plant; its name ends with .json.",
        example="/mnt/plant/reports/line-3.json",
        required=True,
        form="report",
    )
    every_s: float = option("Seconds between two reports.", default=10.0, least=0, most=3600)


OUTPUTS: dict[str, type[OutputOptions]] = {
    "mqtt": MqttOptions,
    "opc_ua": OpcUaOptions,
    "modbus": ModbusOptions,
    "gpio": GpioOptions,
    "webhook": WebhookOptions,
    "file": FileOptions,
    "report": ReportOptions,
}  # the values of `kind`


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """[evidence]: frames and results that are kept."""

    folder: Path = option("Folder of its own for the evidence.", example="evidence", required=True)
    budget: int = option(
        'Disk space that it may take, such as "20 GB"; the oldest goes first.',
        default=20_000_000_000,
        least=10_000_000,
        unit="size",
    )
    good_share: float = option(
        "Fraction of the good parts that are kept, chosen at random.", default=0.01, least=0, most=1
    )


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """[page]: the web page, and /metrics for Prometheus."""

    listen: str = option("Address and port that the page listens on.", default="127.0.0.1:8080", form="address")
    token_file: Path | None = option(
        "File whose first line is the token for changes; without it the page only shows.", example="page-token"
    )
    hosts: tuple[str, ...] = option(
        "Names by which browsers may address this machine, beside localhost and the address above.",
        default=(),
        form="host",
    )
    cert_file: Path | None = option("Certificate, for https.", example="page.pem")
    key_file: Path | None = option("Private key, for https.", example="page.key")


@dataclass(frozen=True, kw_only=True)
class LineConfiguration:
    """A whole file. Paths are absolute, or relative to the folder of the file and resolved by the reader."""

    line: LineOptions
    recipes: dict[str, RecipeOptions]
    cameras: dict[str, CameraOptions]
    outputs: dict[str, OutputOptions]
    evidence: EvidenceOptions | None = None
    page: PageOptions | None = None
