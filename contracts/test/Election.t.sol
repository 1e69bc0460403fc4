// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "../src/Bitmap.sol";
import {Election} from "../src/Election.sol";
import {vm} from "./support/Vm.sol";

/// @dev Stands where the contract of a vector stands, since a study's first seed has the contract's address in it.
contract Genesis {
    function seed(uint256 study, bytes32 specHash) external view returns (bytes32) {
        return Election.genesis(study, specHash);
    }
}

contract ElectionTest {
    using Bitmap for uint256;

    uint256 private constant CASES = 10;

    string private json;

    function setUp() public {
        json = vm.readFile("test/election_vectors.json");
    }

    function at(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".cases[", vm.toString(i), "].", field);
    }

    function number(uint256 i, string memory field) private view returns (uint16) {
        uint256 value = vm.parseJsonUint(json, at(i, field));
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint16(value);
    }

    function hash(uint256 i, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, at(i, field));
    }

    function test_vectors_genesis() public {
        bytes memory code = address(new Genesis()).code;
        for (uint256 i = 0; i < CASES; ++i) {
            address study = vm.parseJsonAddress(json, at(i, "contract"));
            vm.etch(study, code);
            vm.chainId(vm.parseJsonUint(json, at(i, "chain_id")));
            vm.assertEq(Genesis(study).seed(number(i, "study"), hash(i, "spec_hash")), hash(i, "genesis"));
        }
    }

    function test_vectors_seed() public view {
        for (uint256 i = 0; i < CASES; ++i) {
            uint256[] memory seats = vm.parseJsonUintArray(json, at(i, "seats"));
            bytes32[] memory reveals = vm.parseJsonBytes32Array(json, at(i, "reveals"));
            bytes32 mix;
            for (uint256 k = 0; k < seats.length; ++k) {
                // forge-lint: disable-next-line(unsafe-typecast)
                mix ^= Election.contribution(uint8(seats[k]), reveals[k]);
            }
            vm.assertEq(mix, hash(i, "mix"));
            bytes32 seed = Election.next(hash(i, "genesis"), mix, number(i, "round"), number(i, "attempt"));
            vm.assertEq(seed, hash(i, "seed"));
        }
    }

    function test_vectors_leaders() public view {
        for (uint256 i = 0; i < CASES; ++i) {
            uint256[] memory leaders = vm.parseJsonUintArray(json, at(i, "leaders"));
            uint256 candidates = vm.parseJsonUint(json, at(i, "candidates"));
            for (uint16 term = 0; term < leaders.length; ++term) {
                uint8 leader = Election.leader(hash(i, "seed"), term, candidates);
                vm.assertEq(leader, leaders[term]);
                candidates &= ~Bitmap.bit(leader);
            }
        }
    }

    function testFuzz_the_leader_is_a_candidate(bytes32 seed, uint16 term, uint256 candidates) public pure {
        vm.assume(candidates != 0);
        vm.assertTrue(candidates.contains(Election.leader(seed, term, candidates)));
    }

    function testFuzz_a_copied_chain_cancels_nothing(uint8 seat, uint8 other, bytes32 reveal) public pure {
        vm.assume(seat != other);
        vm.assertTrue(Election.contribution(seat, reveal) ^ Election.contribution(other, reveal) != 0);
    }

    /// @dev 4096 seeds, four candidates: each leads 1024 times but for chance (six deviations of 28 either way).
    function test_leadership_is_even() public pure {
        uint256[4] memory led;
        for (uint256 i = 0; i < 4096; ++i) {
            uint8 seat = Election.leader(keccak256(abi.encode(i)), 0, 0x80400201);
            ++led[seat == 0 ? 0 : seat == 9 ? 1 : seat == 22 ? 2 : 3];
        }
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertTrue(led[i] > 1024 - 168 && led[i] < 1024 + 168);
        }
    }
}
