// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Election} from "../src/Election.sol";
import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

contract StudyRotateTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
        commitAll(4);
    }

    function expectFault(IStudy.Fault fault) private {
        IStudy.View memory at = view_();
        vm.expectEmit(address(study));
        emit IStudy.LeaderFailed(id, 1, site(at.leaderSeat), at.term, fault);
    }

    /// @dev Lets a term pass without a publication.
    function fail() private {
        vm.warp(view_().deadline + 1);
        rotate();
    }

    function test_a_leader_that_does_not_merge_in_time_is_replaced() public {
        uint64 deadline = view_().deadline;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyTooEarly.selector, deadline));
        study.rotate(id, 1, 0);
        vm.warp(deadline + 1);
        uint256 candidates = 15 & ~(1 << leader());
        uint8 next = Election.leader(view_().seed, 1, candidates);
        expectFault(IStudy.Fault.MergeTimeout);
        vm.expectEmit(address(study));
        emit IStudy.LeaderElected(id, 1, site(next), 1, next, deadline + 301);
        study.rotate(id, 1, 0);
        vm.assertEq(view_().leaderSeat, next);
        vm.assertEq(view_().term, 1);
    }

    function test_so_is_one_whose_model_finds_no_quorum_in_time() public {
        publish();
        attest(follower(0));
        uint64 deadline = view_().deadline;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyTooEarly.selector, deadline));
        study.rotate(id, 1, 0);
        vm.warp(deadline + 1);
        expectFault(IStudy.Fault.ReviewTimeout);
        study.rotate(id, 1, 0);
        assertPhase(IStudy.Phase.Merging);
        vm.assertEq(view_().attested, 0);
    }

    function test_one_that_is_no_member_any_more_is_replaced_at_once() public {
        remove(leader());
        expectFault(IStudy.Fault.NotMember);
        rotate();
        assertPhase(IStudy.Phase.Merging);
    }

    function test_also_while_its_model_is_reviewed() public {
        publish();
        withdraw(leader());
        expectFault(IStudy.Fault.NotMember);
        rotate();
        assertPhase(IStudy.Phase.Merging);
    }

    function test_a_leader_that_comes_back_before_leads_on() public {
        uint256 seat = leader();
        remove(seat);
        admit(seat);
        publish();
        vm.assertEq(view_().attested, 1 << seat);
    }

    function test_who_failed_is_not_elected_again() public {
        uint256 failed;
        for (uint16 term = 0; term < 4; ++term) {
            vm.assertEq(view_().term, term);
            vm.assertEq(failed & (1 << leader()), 0);
            failed |= 1 << leader();
            fail();
        }
        vm.assertEq(failed, 15);
    }

    function test_who_left_is_not_elected() public {
        withdraw(follower(0));
        withdraw(follower(1));
        uint256 last = follower(2);
        fail();
        vm.assertEq(leader(), last);
    }

    function test_when_all_have_failed_the_round_is_retried() public {
        fail();
        fail();
        fail();
        vm.warp(view_().deadline + 1);
        expectFault(IStudy.Fault.MergeTimeout);
        vm.expectEmit(address(study));
        emit IStudy.RoundRetried(id, 1, 1, uint64(block.timestamp) + 600);
        rotate();
        IStudy.View memory at = view_();
        assertPhase(IStudy.Phase.Collecting);
        vm.assertEq(at.round, 1);
        vm.assertEq(at.attempt, 1);
        vm.assertEq(at.term, 0);
        vm.assertEq(at.committed, 0);
        vm.assertEq(at.sealableAt, at.deadline);
    }

    function test_a_retried_round_takes_new_reveals_only() public {
        for (uint256 i = 0; i < 4; ++i) {
            fail();
        }
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongAttempt.selector, 0, 1));
        commit(0, 1, 0, commitment(0));
        IStudy.Commitment memory stale = commitment(0);
        stale.reveal = link(0, 1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.CommitStaleReveal.selector, link(0, 1), link(0, 1)));
        commit(0, 1, 1, stale);
        bytes32 seed = view_().seed;
        bytes32 mix;
        for (uint256 i = 0; i < 4; ++i) {
            mix ^= keccak256(abi.encode(i, link(i, 2)));
        }
        commitAll(4);
        vm.assertEq(view_().seed, keccak256(abi.encode(seed, mix, 1, 1)));
        publish();
        attestAll();
        vm.assertEq(view_().round, 2);
        vm.assertEq(view_().attempt, 0);
    }

    function test_when_all_have_left_the_round_is_retried() public {
        publish();
        for (uint256 i = 0; i < 4; ++i) {
            withdraw(i);
        }
        expectFault(IStudy.Fault.NotMember); // and nothing is final, though no active site is left to object
        vm.expectEmit(address(study));
        emit IStudy.RoundRetried(id, 1, 1, uint64(block.timestamp) + 600);
        rotate();
        vm.assertEq(view_().lastFinal, 0);
    }

    function test_of_the_current_round_and_term() public {
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongNumber.selector, 2, 1));
        study.rotate(id, 2, 0);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongTerm.selector, 1, 0));
        study.rotate(id, 1, 1);
    }

    function test_while_there_is_a_leader() public {
        publish();
        attestAll();
        vm.expectRevert(wrongPhase(IStudy.Phase.Collecting));
        study.rotate(id, 2, 0);
    }

    function test_in_a_running_study_only() public {
        proposed(4, defaultTerms());
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        study.rotate(id, 0, 0);
    }
}
