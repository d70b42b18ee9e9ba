"""No command repeats a password, whatever it complains about."""

from __future__ import annotations

import pytest
from command_line import run

from spade_edge.galleries import Built

HIDDEN = "zqx"
ADDRESS = "rtsp://me:z/zqx y?zqx@127.0.0.1:1/live?token=zqx"
LONG = f"rtsp://me:zqx {'a' * 70}@cam/x"  # longer than what a message repeats of an argument
PIPELINE = 'rtspsrc location="rtsp://me:zqx@cam/x" user-pw=zqx ! decodebin ! appsink'
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "source", [ADDRESS, LONG, PIPELINE, "rtsp:/me:zqx@cam/x", "me:zqx@cam:554/x", "rtsp://me:zqx@[cam/x"]
)
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (["score", "--bundle", "{bundle}", "--reopen", "0"], []),
        (["score", "--bundle", "{bundle}"], ["one too many"]),
        (["score", "--bundle", "{bundle}", "frames"], []),
        (["score", "--bundle", "{bundle}", "--stall"], ["frames"]),
        (["score", "--bundle", "{bundle}", "--raw"], ["frames"]),
        (["score", "--bundle"], ["frames"]),
        (["score", "--bundle", "{bundle}", "--linescan", "8", "--line-overlap", "8"], []),
        (["parity", "--bundle", "{bundle}"], []),
        (["bench", "--bundle", "{bundle}", "--frames"], []),
        (["evaluate", "--bundle", "{bundle}"], []),
        (["build", "--model", "none", "--output", "none", "--images"], []),
        ([], []),
    ],
)
def test_no_message_repeats_a_password(
    source: str, before: list[str], behind: list[str], edge: Built, capsys: Capture
) -> None:
    words = [word.format(bundle=edge.path) for word in before]
    code, out, err = run(capsys, *words, source, *behind)
    assert code in (2, 3, 4)
    assert HIDDEN not in out + err
    assert err and "Traceback" not in err
