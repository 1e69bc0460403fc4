// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title How long a phase may last, from how long it took in the rounds before.
/// @notice A pace is a period in seconds: four times what a phase lately took. It rises at once to a longer phase's, and
///         falls by a sixteenth of the way to a shorter one's, so that it follows the slowest of the last dozen rounds
///         and no single quick one. A phase may last for its pace, but not less than the study's least time nor longer
///         than the constant that the study states for it, which also holds until something was measured. Each deadline
///         that expires in a round doubles the ones that follow in it: a pace that has become too short heals itself.
///
///         What is measured is the block's time, in whole seconds: a phase of `elapsed` seconds really took less than
///         one more, hence `elapsed + 1`. Round 0 isn't measured, since sums take less time than training.
///
///         The merge is measured from the election to the publication, the review from there to the quorum. Of a
///         collection that waited for everybody, the time until the last commit is measured, so that the slowest site
///         sets its pace. Updates may be trained during the review before, and come with the attestations; then the
///         collection alone would say nothing of how long training takes. So it may last for its own pace and the
///         review's together. A site that comes too late leaves no trace, since its commit is refused. Hence a
///         collection that ends without somebody, because the pace and not the agreed grace time said so, never makes
///         the pace shorter but doubles it: a slow site that was cut off gets more time in each round until it is in
///         again, or until the study's own times hold. A site that is gone for good costs these times, as it would
///         without a pace, until it withdraws or is removed.
///
///         What somebody can do who wants harm: be slow, which lengthens deadlines up to the study's constants, with
///         four times as much in each round at the most; the study has agreed to these. Or be quick: a leader that
///         publishes at once shortens the merge's pace by a sixteenth of the gap for each term it has, and the next
///         leader has 3.75 times of what leaders usually need instead of four. In m such terms in a row that is
///         4 * (15/16)^m, and the next one that is slower sets it back at once. A collection can be shortened by all of
///         its sites together only, and a review by no less than a quorum. A leader that is too slow for a pace all the
///         same loses its term, on record, and the next one has twice the time. None of it decides what is true, only
///         who may move on.
library Pace {
    /// @notice The longest that a pace can say, some 18 hours; the study's constant holds where it is reached.
    uint16 internal constant LONGEST = type(uint16).max;
    uint256 private constant FACTOR = 4;
    uint256 private constant SMOOTHING = 16;

    /// @notice How long a phase may last: `pace` as it is doubled by the deadlines that expired, within the limits.
    /// @param pace A pace, or a sum of them; 0 where none was measured.
    /// @param least Fewest seconds; `most` counts where that is less.
    function period(uint256 pace, uint8 expired, uint32 least, uint32 most) internal pure returns (uint32) {
        if (pace == 0 || pace >= LONGEST || expired >= 32) return most;
        uint256 length = (pace < least ? least : pace) << expired;
        // forge-lint: disable-next-line(unsafe-typecast)
        return length < most ? uint32(length) : most;
    }

    /// @notice The pace after a phase that took `elapsed` seconds of the `allowed` ones; what it overran doesn't count.
    function learn(uint16 pace, uint256 elapsed, uint32 allowed) internal pure returns (uint16) {
        unchecked {
            uint256 sample = cap(FACTOR * ((elapsed < allowed ? elapsed : allowed) + 1));
            if (sample < pace) sample = pace - (pace - sample + SMOOTHING - 1) / SMOOTHING;
            // forge-lint: disable-next-line(unsafe-typecast)
            return uint16(sample);
        }
    }

    /// @notice The pace after a phase of which `allowed` seconds were too few for somebody.
    function lengthen(uint16 pace, uint32 allowed) internal pure returns (uint16) {
        uint256 longer = cap(2 * uint256(allowed));
        // forge-lint: disable-next-line(unsafe-typecast)
        return longer > pace ? uint16(longer) : pace;
    }

    function cap(uint256 length) private pure returns (uint256) {
        return length < LONGEST ? length : LONGEST;
    }
}
