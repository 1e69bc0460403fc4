"""The contracts' twin in Python: how long a phase may last, as in contracts/src/Pace.sol."""

LONGEST = 65_535
FACTOR = 4
SMOOTHING = 16


def period(pace: int, expired: int, least: int, most: int) -> int:
    if pace == 0 or pace >= LONGEST or expired >= 32:
        return most
    return min(max(pace, least) << expired, most)


def learn(pace: int, elapsed: int, allowed: int) -> int:
    sample = min(LONGEST, FACTOR * (min(elapsed, allowed) + 1))
    if sample < pace:
        sample = pace - (pace - sample + SMOOTHING - 1) // SMOOTHING
    return sample


def lengthen(pace: int, allowed: int) -> int:
    return max(pace, min(LONGEST, 2 * allowed))
