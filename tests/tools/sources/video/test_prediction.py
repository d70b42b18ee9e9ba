"""Which frames are whole, worked out by hand for small streams."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from spade_edge.tools.sources.video.prediction import BEGINNING, DAMAGED, LOST, PREDICTED, Prediction

WORDS = {"D": DAMAGED, "p": PREDICTED, "L": LOST, "b": BEGINNING}


def decoded(*steps: str, slots: bool = False, reorder: Sequence[int] | None = None) -> str:
    """What comes out of a stream, a frame by its number and a fault by its letter.

    Each step is a packet: `12` a frame of this time stamp, `12K` a key frame, `12E` an entry whose frame is no key
    frame, with c: the container marks it, d: the decoder marks its frame, x: the decoder fails, -: nothing comes out.
    `reorder` lists the numbers of packets in the order in which their frames come out, at the end.
    """
    prediction: Prediction[int] = Prediction(slots=slots)
    found: list[int | str] = []
    sent = []
    for step in steps:
        stamp, marks = int(step.rstrip("KEcdx-")), step.lstrip("0123456789")
        number = prediction.send(stamp, entry="K" in marks or "E" in marks, damaged="c" in marks)
        sent.append((number, stamp, marks))
        if "x" in marks:
            prediction.fail()
        if reorder is None and "-" not in marks and "x" not in marks:
            fault = DAMAGED if "d" in marks else ""
            prediction.come(stamp, number=number, stamp=stamp, key="K" in marks, fault=fault)
        found += prediction.ready()
    for place in reorder or ():
        number, stamp, marks = sent[place]
        fault = DAMAGED if "d" in marks else ""
        prediction.come(stamp, number=number, stamp=stamp, key="K" in marks, fault=fault)
        found += prediction.ready()
    prediction.end()
    found += prediction.ready()
    letters = {text: letter for letter, text in WORDS.items()}
    return " ".join(letters[one] if isinstance(one, str) else str(one) for one in found)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ("0K 1 2 3K 4", "0 1 2 3 4"),
        ("0K 1d 2 3K 4", "0 D p 3 4"),
        ("0K 1c 2 3 4K 5", "0 D D p 4 5"),  # the mark can stand one packet too early
        ("0K 1 2c 3K 4 5K", "0 1 D D p 5"),  # so the key frame behind it is not trusted
        ("0K 1x 2 3K 4", "0 L p 3 4"),
        ("0K 1 2- 3", "0 1 3"),  # a packet that shows nothing is no fault
        ("0K 1d 2- 3 4K", "0 D p p 4"),
        ("0K 1d 2K 3d 4K", "0 D 2 D 4"),
        ("0 1 2K 3", "b b 2 3"),
        ("0E 1 2", "0 1 2"),
        ("0K 1d 2 3E 4 5 6E 7", "0 D p p p p 6 7"),  # a gradual refresh: clean from the second entry on
        ("0K 1d 2 3E 4d 5 6E 7 8E 9", "0 D p p D p p p 8 9"),
    ],
)
def test_damage_spreads_up_to_the_next_whole_key_frame(steps: str, found: str) -> None:
    assert decoded(*steps.split()) == found


def test_a_frame_waits_for_those_that_it_is_built_on() -> None:
    # Decoded 0 4 2 1 3, displayed 0 1 2 3 4: frames 1 to 3 are built on 4, which comes out last, and is damaged.
    assert decoded("0K", "4d", "2", "1", "3", reorder=[0, 3, 2, 4, 1]) == "0 p p p D"
    assert decoded("0K", "4", "2", "1", "3", reorder=[0, 3, 2, 4, 1]) == "0 1 2 3 4"
    assert decoded("0K", "4", "2d", "1", "3", reorder=[0, 3, 2, 4, 1]) == "0 p D p 4"


def test_frames_displayed_before_the_key_frame_that_ends_damage_are_not_trusted() -> None:
    # An open group: 3 and 4 are decoded behind the key frame 5, and built on what was before it.
    assert decoded("0K", "1d", "2", "5K", "3", "4", "6", reorder=[0, 1, 2, 4, 5, 3, 6]) == "0 D p p p 5 6"


def test_a_frame_that_the_decoder_has_invented_is_missing() -> None:
    prediction: Prediction[str] = Prediction()
    for stamp in (0, 1, 3):
        number = prediction.send(stamp, entry=stamp == 0)
        if stamp == 3:
            prediction.come("invented", number=None, stamp=None, key=False)
        prediction.come(f"frame {stamp}", number=number, stamp=stamp, key=stamp == 0)
    assert list(prediction.ready()) == ["frame 0", "frame 1", LOST, DAMAGED]


def test_missing_frames_are_counted_by_even_time_stamps_where_data_were_damaged() -> None:
    even = [f"{stamp}" for stamp in range(10, 120, 10)]
    assert decoded("0K", *even, "120d", "160", "170K") == " ".join(["0", *even, "D", "L L L p 170"])


def test_a_frame_that_was_counted_as_missing_is_not_reported_again() -> None:
    even = [f"{stamp}" for stamp in range(10, 110, 10)]
    # 120 and 130 are decoded behind the key frame 140, as far as their data go.
    found = decoded("0K", *even, "110d", "140K", "120x", "130x", "150", "160K")
    assert found == " ".join(["0", *even, "D", "L L 140 p 160"])


def test_uneven_time_stamps_are_no_fault() -> None:
    steps = [f"{stamp}K" for stamp in (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 400, 410, 2000)]
    assert decoded(*steps) == " ".join(step.rstrip("K") for step in steps)
    assert decoded("0K", "13K", "14Kd", "90K") == "0 13 D 90"


def test_in_a_container_with_slots_an_empty_one_is_a_missing_frame() -> None:
    assert decoded("0K", "1K", "4K", "5K", slots=True) == "0 1 L L 4 5"


def test_no_frame_waits_for_ever() -> None:
    prediction: Prediction[int] = Prediction()
    found: list[int | str] = []
    prediction.come(0, number=prediction.send(0, entry=True), stamp=0, key=True)
    for stamp in range(1, 60):
        prediction.send(stamp, entry=False)
        prediction.fail()
        found += prediction.ready()
    assert found[0] == 0 and found[1:] == [LOST] * (len(found) - 1) and len(found) > 40
