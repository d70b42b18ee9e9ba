"""The doctor's processes: commands that hang or flood, and providers that are really tried."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import run
from fake_gpu import Machine

from spade_edge.runtime.kernels.ort import onnxruntime
from spade_edge.tools.doctor import Host
from spade_edge.tools.doctor.probe import about_provider, about_tensorrt, full_bytes
from spade_edge.tools.doctor.providers import PATIENCE, Providers, ask, parsed
from spade_edge.tools.hardware.commands import Commands

COMMANDS = Commands(dict(os.environ))


def test_a_command_is_run_and_its_words_come_back() -> None:
    script = "import os, sys; print('out', os.environ['LC_ALL'], os.environ['MORE']); print('err', file=sys.stderr); sys.exit(3)"  # noqa: E501
    answer = COMMANDS([sys.executable, "-c", script], timeout=20, environment={"MORE": "more"})
    assert (answer.code, answer.out, answer.err) == (3, "out C.UTF-8 more\n", "err\n")
    assert COMMANDS([sys.executable, "-c", "import os; os.abort()"], timeout=20).code == -6
    assert COMMANDS([sys.executable, "-c", r"import os; os.write(1, b'\xff\xfe')"], timeout=20).out == "\ufffd\ufffd"


def test_a_command_that_is_not_there_or_is_no_program(tmp_path: Path) -> None:
    assert COMMANDS(["no-such-program"], timeout=5).code is None
    (tmp_path / "text").write_text("hello")
    answer = COMMANDS([str(tmp_path / "text")], timeout=5)
    assert answer.code is None and "denied" in answer.err
    assert COMMANDS([str(tmp_path)], timeout=5).code is None


def reader_of(fifo: Path) -> int:
    os.mkfifo(fifo)
    return os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)


HOLDS = "import os, sys, time; file = open({!r}, 'w'); print(os.getpid(), file=file, flush=True); time.sleep(60)"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    reader = reader_of(tmp_path / "fifo")
    child = HOLDS.format(str(tmp_path / "fifo"))
    answer = COMMANDS(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"], timeout=1
    )
    assert answer.code is None and answer.err == "no answer within 1 s"
    for _ in range(200):
        with suppress(BlockingIOError):  # as long as somebody has it open for writing
            if os.read(reader, 100) == b"":
                break
        time.sleep(0.05)
    else:
        pytest.fail("the child lives on")
    os.close(reader)


def test_a_child_that_keeps_the_pipe_open_does_not_hold_the_doctor(tmp_path: Path) -> None:
    reader = reader_of(tmp_path / "fifo")
    child = HOLDS.format(str(tmp_path / "fifo"))
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    said = b""
    for patience in (1, 4, 16):  # a busy machine needs more until the child has begun
        assert Commands(dict(os.environ), grace=0.1)([sys.executable, "-c", script], timeout=patience).code is None
        with suppress(BlockingIOError):
            said = os.read(reader, 100)
        if said:
            break
    process = int(said)
    os.kill(process, signal.SIGKILL)  # it has a session of its own, and was not waited for: it is still there
    os.close(reader)


@pytest.fixture(scope="module")
def here() -> Host:
    return Host.here()


def test_providers_of_this_machine(here: Host) -> None:
    tried = Providers.of(here)
    assert tried.version == onnxruntime().__version__ and tried.works("CPUExecutionProvider")
    compiled = set(onnxruntime().get_available_providers()) - {"AzureExecutionProvider"}
    assert {probe.provider for probe in tried.probes} == compiled
    if "CUDAExecutionProvider" not in compiled:
        assert not tried.has("CUDAExecutionProvider") and not tried.works("CUDAExecutionProvider")


def test_a_provider_that_is_not_compiled_in_is_not_taken_for_one_that_works(here: Host) -> None:
    answer = ask(here, "RocmExecutionProvider", PATIENCE)
    assert answer.code == 0 and "error" in parsed(answer) and "right" not in parsed(answer)


def test_a_provider_that_registers_and_leaves_the_work_to_the_cpu_is_seen() -> None:
    azure = "AzureExecutionProvider"  # in PyPI's packages for the CPU: it is there, and computes nothing
    if azure not in onnxruntime().get_available_providers():
        pytest.skip("no such provider")
    with pytest.raises(Exception, match="CPU EP"):
        about_provider(azure)


def test_what_libraries_print_does_not_mix_with_the_answer(here: Host, tmp_path: Path) -> None:
    # A package that prints on import, to Python's stdout and to the system's.
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2/__init__.py").write_text("import os; print('noise', flush=True); os.write(1, b'more noise')\n")
    path = os.pathsep.join([str(tmp_path), *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-m", "spade_edge.tools.doctor.probe", "opencv"]
    answer = here.run(command, timeout=PATIENCE, environment={"PYTHONPATH": path})
    assert "AttributeError" in parsed(answer)["error"] and "noise" in answer.err


def test_the_folder_that_the_user_stands_in_is_not_imported_from(
    here: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 cannot be told")
    (tmp_path / "onnxruntime.py").write_text("raise RuntimeError('from the current folder')\n")
    monkeypatch.chdir(tmp_path)
    assert Providers.of(here).version == onnxruntime().__version__


def test_numbers_that_are_wrong_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert about_provider("CPUExecutionProvider")["right"] is True
    session = onnxruntime().InferenceSession
    plain = session.run
    monkeypatch.setattr(session, "run", lambda self, *a, **k: [2 * value for value in plain(self, *a, **k)])
    found = about_provider("CPUExecutionProvider")
    assert found["right"] is False and found["bytes"] is False


def test_full_bytes_are_exact_where_the_processor_can() -> None:
    if platform.system() != "Linux":
        pytest.skip("flags are read from /proc/cpuinfo")
    flags = Path("/proc/cpuinfo").read_text().split()
    # x86 with AVX2 and without VNNI adds pairs of products in 16 bits; SSE kernels and Arm's do not.
    saturates = "avx2" in flags and not {"avx512_vnni", "avx_vnni"} & set(flags)
    assert full_bytes() is not saturates


@pytest.mark.parametrize("package", ["onnxruntime", "cv2"])
def test_a_package_that_is_missing_is_an_answer(package: str) -> None:
    what = "opencv" if package == "cv2" else package
    code = (
        f"import sys; sys.modules[{package!r}] = None\nfrom spade_edge.tools.doctor.probe import main\nmain({what!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "error" in json.loads(done.stdout)


def test_the_command_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "doctor", "--json")
    value = json.loads(out)
    states = {f"{one['kind']} {one['name']}": one["state"] for one in value["findings"]}
    assert states["providers cpu"] == states["packages spade-edge"] == "ok"
    assert code == (4 if value["problems"] else 0) and err.count("\n") == (1 if value["problems"] else 0)
    assert not [one for one in value["findings"] if "internal error in doctor" in one["found"]]


def test_the_doctor_needs_numpy_alone() -> None:
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("onnxruntime", "cv2", "hnswlib", "torch", "onnx", "tqdm", "harvesters"):
            raise ModuleNotFoundError("refused " + name, name=name)
sys.meta_path.insert(0, Refuse())
from spade_edge.tools.cli.main import main
sys.exit(main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4) and done.stdout.startswith("packages\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_every_tensorrt_that_the_loader_finds_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(tensorrt=110401, missing={"libnvinfer.so.8": "no such file"}).install(monkeypatch, tmp_path)
    found = {"libnvinfer.so.10": "11.4.1", "libnvinfer.so.11": "11.4.1"}
    assert about_tensorrt() == {"wanted": "libnvinfer.so.10", "found": found}
    library = tmp_path / "onnxruntime" / "capi" / "libonnxruntime_providers_tensorrt.so"
    library.write_bytes(b"\x7fELF\0libnvinfer.so.12\0")
    assert about_tensorrt() == {"wanted": "libnvinfer.so.12", "found": {"libnvinfer.so.12": "11.4.1"} | found}
    library.unlink()
    machine.missing |= {f"libnvinfer.so.{version}": "no such file" for version in (10, 11)}
    assert about_tensorrt() == {"wanted": "", "found": {}}
