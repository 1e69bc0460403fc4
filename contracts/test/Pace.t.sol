// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Pace} from "../src/Pace.sol";
import {vm} from "./support/Vm.sol";

contract PaceTest {
    function test_what_was_not_measured_has_the_constant() public pure {
        vm.assertEq(Pace.period(0, 0, 10, 600), 600);
        vm.assertEq(Pace.period(0, 3, 10, 600), 600);
    }

    function test_a_pace_is_kept_between_the_least_time_and_the_constant() public pure {
        vm.assertEq(Pace.period(8, 0, 10, 600), 10);
        vm.assertEq(Pace.period(44, 0, 10, 600), 44);
        vm.assertEq(Pace.period(700, 0, 10, 600), 600);
        vm.assertEq(Pace.period(8, 0, 1000, 600), 600); // the constant has the last word
    }

    function test_each_deadline_that_expires_doubles_it_up_to_the_constant() public pure {
        vm.assertEq(Pace.period(8, 1, 10, 600), 20);
        vm.assertEq(Pace.period(44, 2, 10, 600), 176);
        vm.assertEq(Pace.period(44, 4, 10, 600), 600);
        vm.assertEq(Pace.period(44, 255, 10, 600), 600);
    }

    function test_a_pace_is_four_times_what_a_phase_took() public pure {
        vm.assertEq(Pace.learn(0, 0, 600), 4);
        vm.assertEq(Pace.learn(0, 10, 600), 44);
    }

    function test_it_rises_at_once_and_falls_by_a_sixteenth() public pure {
        vm.assertEq(Pace.learn(44, 24, 600), 100);
        vm.assertEq(Pace.learn(100, 1, 600), 94);
        vm.assertEq(Pace.learn(9, 1, 600), 8);
        vm.assertEq(Pace.learn(8, 1, 600), 8);
    }

    function test_an_outage_counts_for_no_more_than_what_was_allowed() public pure {
        vm.assertEq(Pace.learn(44, 100_000, 44), 180);
    }

    function test_a_pace_that_can_not_be_written_is_the_constant() public pure {
        uint16 pace = Pace.learn(0, 20_000, 30 days);
        vm.assertEq(pace, Pace.LONGEST);
        vm.assertEq(Pace.period(pace, 0, 10, 30 days), 30 days);
        vm.assertEq(Pace.lengthen(44, 30 days), Pace.LONGEST);
    }

    function test_who_was_cut_off_has_twice_the_time_at_least() public pure {
        vm.assertEq(Pace.lengthen(44, 40), 80);
        vm.assertEq(Pace.lengthen(100, 40), 100);
    }

    function testFuzz_a_period_is_within_its_limits(uint256 pace, uint8 expired, uint32 least, uint32 most)
        public
        pure
    {
        uint32 period = Pace.period(pace % 140_000, expired, least, most);
        vm.assertLe(period, most);
        vm.assertLe(least < most ? least : most, period);
    }

    function testFuzz_a_longer_phase_makes_no_shorter_pace(uint16 pace, uint32 elapsed, uint32 more, uint32 allowed)
        public
        pure
    {
        uint256 longer = uint256(elapsed) + more;
        vm.assertLe(Pace.learn(pace, elapsed, allowed), Pace.learn(pace, longer, allowed));
    }

    /// @dev However often a liar leads in a row, and however quick it is.
    function testFuzz_one_phase_shortens_a_pace_by_a_sixteenth_at_most(uint16 pace, uint256 elapsed, uint32 allowed)
        public
        pure
    {
        uint256 after_ = Pace.learn(pace, elapsed % 1e12, allowed);
        vm.assertLe(uint256(pace) * 15, after_ * 16 + 15);
    }
}
