// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Sets of seats, one bit per seat.
/// @notice Every function takes the same number of steps for any set, so that no operation costs more in a large
///         consortium than in a small one.
library Bitmap {
    /// @notice The set that holds one seat.
    function bit(uint8 seat) internal pure returns (uint256) {
        return uint256(1) << seat;
    }

    /// @notice Whether a seat is in a set.
    function contains(uint256 set, uint8 seat) internal pure returns (bool) {
        return set & bit(seat) != 0;
    }

    /// @notice How many seats are in a set, 0..256.
    /// @dev Sums neighbouring fields in parallel until they are 16 bits wide, which is room for 256, and adds the
    ///      sixteen fields by one multiplication.
    function count(uint256 set) internal pure returns (uint256 n) {
        unchecked {
            n = set - ((set >> 1) & 0x5555555555555555555555555555555555555555555555555555555555555555);
            n = (n & 0x3333333333333333333333333333333333333333333333333333333333333333)
                + ((n >> 2) & 0x3333333333333333333333333333333333333333333333333333333333333333);
            n = (n + (n >> 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
            n = (n + (n >> 8)) & 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
            n = (n * 0x0001000100010001000100010001000100010001000100010001000100010001) >> 240;
        }
    }

    /// @notice The k-th seat of a set, from the lowest, counted from 0; k must be below `count(set)`.
    /// @dev Eight halvings: the seat is in the lower half where that holds more than k seats, else in the upper one.
    function select(uint256 set, uint256 k) internal pure returns (uint8) {
        uint256 seat = 0;
        unchecked {
            for (uint256 width = 128; width != 0; width >>= 1) {
                uint256 below = count(set & ((uint256(1) << width) - 1));
                if (k >= below) {
                    k -= below;
                    set >>= width;
                    seat += width;
                }
            }
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint8(seat); // at most 128 + 64 + ... + 1
    }

    /// @notice The fewest of `n` that are `bps` ten-thousandths of them, and never none.
    /// @dev Never none, so that nothing is decided by nobody where a set has become empty.
    function quorum(uint256 n, uint256 bps) internal pure returns (uint256) {
        return n == 0 ? 1 : (n * bps + 9999) / 10000;
    }
}
