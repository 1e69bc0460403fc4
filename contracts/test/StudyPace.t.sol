// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

/// @dev A study whose constants are 600, 300 and 200 s, and whose least time is 20 s.
contract StudyPaceTest is Studies {
    function setUp() public {
        running(4, pacedTerms());
    }

    function pacedTerms() private pure returns (IStudy.Terms memory terms) {
        terms = defaultTerms();
        terms.rounds = 12;
        terms.leastSeconds = 20;
    }

    /// @dev A round whose phases take these seconds.
    function play(uint256 collect, uint256 merge, uint256 review) private {
        for (uint256 i = 0; i < 3; ++i) {
            commit(i);
        }
        vm.warp(block.timestamp + collect);
        commit(3);
        vm.warp(block.timestamp + merge);
        publish();
        vm.warp(block.timestamp + review);
        attestAll();
    }

    /// @dev Seconds that the present phase may last, where it began now.
    function allowed() private view returns (uint256) {
        return view_().deadline - block.timestamp;
    }

    function test_the_first_round_has_the_constants() public {
        vm.assertEq(allowed(), 600);
        commitAll(4);
        vm.assertEq(allowed(), 300);
        vm.warp(block.timestamp + 5);
        publish();
        vm.assertEq(allowed(), 200);
    }

    function test_the_next_have_four_times_what_the_phases_took() public {
        play(10, 5, 7);
        vm.assertEq(allowed(), 4 * 11 + 4 * 8); // an update may be trained during the review, too
        commitAll(4);
        vm.assertEq(allowed(), 4 * 6);
        publish();
        vm.assertEq(allowed(), 4 * 8);
    }

    function test_but_never_less_than_the_least_time() public {
        play(0, 0, 0);
        vm.assertEq(allowed(), 20);
        commitAll(4);
        vm.assertEq(allowed(), 20);
        publish();
        vm.assertEq(allowed(), 20);
    }

    function test_nor_more_than_the_constants() public {
        play(50, 250, 190);
        vm.assertEq(allowed(), 600);
        commitAll(4);
        vm.assertEq(allowed(), 300);
        publish();
        vm.assertEq(allowed(), 200);
    }

    function test_the_statistics_round_says_nothing_of_training() public {
        IStudy.Terms memory terms = pacedTerms();
        terms.statistics = true;
        running(4, terms);
        play(1, 1, 1);
        vm.assertEq(view_().round, 1);
        vm.assertEq(allowed(), 600);
        commitAll(4);
        vm.assertEq(allowed(), 300);
        publish();
        vm.assertEq(allowed(), 200);
    }

    function test_a_lost_leader_costs_one_measured_deadline() public {
        play(1, 5, 1);
        commitAll(4);
        uint64 deadline = view_().deadline;
        vm.assertEq(deadline, block.timestamp + 24);
        vm.warp(deadline + 1);
        rotate();
        vm.assertEq(view_().term, 1);
    }

    function test_each_deadline_that_expires_doubles_the_next_ones_of_its_round() public {
        play(1, 5, 6);
        commitAll(4);
        vm.warp(view_().deadline + 1);
        rotate();
        vm.assertEq(allowed(), 48);
        publish();
        vm.assertEq(allowed(), 56);
        vm.warp(view_().deadline + 1);
        rotate();
        vm.assertEq(allowed(), 88); // four times 22: one leader has been quick
        publish();
        attestAll();
        commitAll(4);
        vm.assertLe(allowed(), 24); // the next round begins with what is measured
    }

    function test_a_rejected_leader_was_not_late() public {
        play(1, 5, 6);
        commitAll(4);
        vm.warp(block.timestamp + 5);
        publish();
        reject(follower(0));
        reject(follower(1));
        vm.assertEq(view_().term, 1);
        vm.assertEq(allowed(), 24);
    }

    function test_a_retried_collection_has_more_time() public {
        play(10, 5, 1);
        commitAll(4);
        for (uint256 i = 0; i < 4; ++i) {
            vm.warp(view_().deadline + 1);
            rotate();
        }
        assertPhase(IStudy.Phase.Collecting);
        vm.assertEq(allowed(), 600);
    }

    function test_an_extended_collection_has_twice_the_time() public {
        play(10, 5, 1);
        uint256 first = allowed();
        vm.assertEq(first, 52);
        commit(0);
        vm.warp(view_().deadline);
        sealRound();
        vm.assertEq(allowed(), 2 * first);
    }

    function test_a_site_that_the_pace_cut_off_has_twice_the_time_in_the_next_round() public {
        play(2, 1, 1); // 12 + 8 s
        uint256 first = allowed();
        vm.assertEq(first, 20);
        for (uint256 round = 0; round < 2; ++round) {
            for (uint256 i = 0; i < 3; ++i) {
                commit(i);
            }
            vm.assertEq(view_().sealableAt, view_().deadline); // long before the grace time of 60 s
            vm.warp(view_().deadline);
            sealRound();
            publish();
            attestAll();
            vm.assertLe(2 * first, allowed());
            first = allowed();
        }
    }

    function test_a_site_that_the_grace_time_cut_off_was_waited_for_as_agreed() public {
        play(50, 1, 1);
        uint256 first = allowed();
        for (uint256 i = 0; i < 3; ++i) {
            commit(i);
        }
        vm.assertEq(view_().sealableAt, block.timestamp + 60);
        vm.warp(view_().sealableAt);
        sealRound();
        publish();
        attestAll();
        vm.assertLe(allowed(), first);
    }

    function test_a_quick_leader_shortens_nothing_much_and_a_slow_one_sets_it_back() public {
        play(1, 19, 1); // 80 s
        play(1, 0, 1);
        commitAll(4);
        vm.assertEq(allowed(), 75);
        vm.warp(block.timestamp + 19);
        publish();
        attestAll();
        commitAll(4);
        vm.assertEq(allowed(), 80);
    }

    function test_least_seconds_as_long_as_the_constants_makes_them_constant() public {
        running(4, defaultTerms());
        play(1, 1, 1);
        vm.assertEq(allowed(), 600);
        commitAll(4);
        vm.assertEq(allowed(), 300);
        publish();
        vm.assertEq(allowed(), 200);
    }

    function testFuzz_no_deadline_leaves_its_limits(uint16[18] memory times) public {
        for (uint256 i = 0; i < 18; i += 3) {
            vm.assertLe(allowed(), 600);
            vm.assertLe(20, allowed());
            play(times[i] % 700, times[i + 1] % 400, times[i + 2] % 300);
        }
        commitAll(4);
        vm.assertLe(allowed(), 300);
        publish();
        vm.assertLe(allowed(), 200);
    }
}
