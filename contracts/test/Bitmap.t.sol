// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "../src/Bitmap.sol";
import {vm} from "./support/Vm.sol";

contract BitmapTest {
    using Bitmap for uint256;

    function test_counts_from_none_to_all() public pure {
        uint256 set;
        for (uint256 n = 0; n <= 256; ++n) {
            vm.assertEq(set.count(), n);
            set = (set << 1) | 1;
        }
    }

    function test_selects_every_seat_of_a_full_set() public pure {
        for (uint256 k = 0; k < 256; ++k) {
            vm.assertEq(type(uint256).max.select(k), k);
        }
    }

    function test_selects_a_lone_seat() public pure {
        for (uint256 i = 0; i < 256; ++i) {
            vm.assertEq((uint256(1) << i).select(0), i);
        }
    }

    function testFuzz_counts_what_is_there(uint256 set) public pure {
        uint256 n;
        for (uint256 rest = set; rest != 0; rest &= rest - 1) {
            ++n;
        }
        vm.assertEq(set.count(), n);
    }

    function testFuzz_selects_the_kth_from_the_lowest(uint256 set, uint256 k) public pure {
        vm.assume(set != 0);
        k %= set.count();
        uint8 seat = set.select(k);
        vm.assertTrue(set.contains(seat));
        vm.assertEq((set & (Bitmap.bit(seat) - 1)).count(), k);
    }

    function testFuzz_a_quorum_is_the_least_that_is_enough(uint8 n, uint16 bps) public pure {
        bps = 5001 + (bps % 5000);
        uint256 quorum = uint256(n).quorum(bps);
        vm.assertTrue(quorum != 0);
        if (n == 0) return;
        vm.assertLe(quorum, n);
        vm.assertTrue(quorum * 10000 >= uint256(n) * bps);
        vm.assertTrue((quorum - 1) * 10000 < uint256(n) * bps);
    }

    function testFuzz_two_quorums_of_one_set_overlap(uint8 n, uint16 bps) public pure {
        bps = 5001 + (bps % 5000);
        vm.assertTrue(2 * uint256(n).quorum(bps) > n);
    }
}
