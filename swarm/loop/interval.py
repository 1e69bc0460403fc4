"""After how many steps a training loop synchronises: a fixed interval, or one that follows what a merge brings.

What the study agrees on is the range, `local_steps` to `max_local_steps`. Where a site is within it is its own affair:
it changes neither the site's weight in the merge, which is its number of records, nor the clip bound of its updates.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from swarm.spec import TrainingSection
from swarm.weights import Floats

ALIGNED = 0.8
"""Cosine from which on a site's update and the swarm's say the same."""
DRIFTING = 0.5
"""Cosine below which they don't: sixty degrees apart."""
GROWTH = 2


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a site can see of a merge under every privacy mode.

    `agreement` is the cosine between the site's own update and the swarm's step, None where one of them is zero.
    `worsened` says that the site's validation loss has risen since the last synchronisation; None where the loop
    doesn't tell it.
    """

    agreement: float | None
    worsened: bool | None = None


def next_interval(present: int, training: TrainingSection, seen: Feedback) -> int:
    """Choose the steps until the next synchronisation, within the study's range.

    Where this site's update points where the swarm's does, a merge has changed little: it is worth waiting twice as
    long for the next one. Where it points elsewhere (the sites drift apart), or the validation loss has risen, half as
    long. Drift is what limits the number of local steps (Karimireddy et al., SCAFFOLD, 2020); to communicate when the
    models diverge and not by the clock is dynamic averaging (Kamp et al., 2018); and since updates turn from a common
    direction into noise as training converges, the interval shrinks toward the end, as Wang and Joshi (AdaComm, 2019)
    derive for the lowest error.
    """
    low = training.local_steps
    high = max(low, training.max_local_steps)
    if seen.worsened or (seen.agreement is not None and seen.agreement < DRIFTING):
        present //= GROWTH
    elif seen.agreement is not None and seen.agreement >= ALIGNED:
        present *= GROWTH
    return min(max(present, low), high)


def agreement(base: Floats, own: Floats, merged: Floats) -> float | None:
    """Give the cosine between a site's update and the swarm's step from the same base; None where one is zero."""
    mine, theirs = own.astype(np.float64) - base, merged.astype(np.float64) - base
    length = sqrt(float(mine @ mine) * float(theirs @ theirs))
    return float(mine @ theirs) / length if length else None
