// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./Bitmap.sol";

/// @title Who leads a term.
/// @notice A round's seed hashes the seed before it with the XOR of what the round's commits revealed (RANDAO). XOR is
///         blind to order, so whoever orders transactions gains nothing; all that one site can do is withhold its own
///         commit, and that is on record. The leaders of a round's terms follow from its seed: a fault needs no new
///         randomness. Block hashes and prevrandao are not used, since a permissioned chain's validators choose them.
library Election {
    /// @notice The seed under which a study starts.
    function genesis(uint256 study, bytes32 specHash) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), study, specHash));
    }

    /// @notice What one commit adds, by XOR, to its round's mix.
    /// @dev The seat is hashed in so that a site which copies another's hash chain does not cancel its reveals.
    function contribution(uint8 seat, bytes32 reveal) internal pure returns (bytes32) {
        return keccak256(abi.encode(seat, reveal));
    }

    /// @notice The seed of a sealed round.
    function next(bytes32 seed, bytes32 mix, uint16 round, uint16 attempt) internal pure returns (bytes32) {
        return keccak256(abi.encode(seed, mix, round, attempt));
    }

    /// @notice The seat that leads a term, out of a set of candidates that must not be empty.
    function leader(bytes32 seed, uint16 term, uint256 candidates) internal pure returns (uint8) {
        return Bitmap.select(candidates, uint256(keccak256(abi.encode(seed, term))) % Bitmap.count(candidates));
    }
}
