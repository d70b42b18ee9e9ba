"""Hears it when parts look different from those at the beginning, although each is still judged good.

    watch = DriftWatch(scorer.bundle.manifest)
    drift = watch(result, time.time())      # after each frame
    if drift is not None:
        print(drift.words)                  # brightness +9 %, place 3 px to the right

The rooms of a scorer have no state between frames; this one has, and stands beside them. `quantity` says what is looked
at in a frame, `series` follows one quantity, `watch` follows them all, and `change` is what they find.
"""

from __future__ import annotations
