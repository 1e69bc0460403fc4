// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IConsortium} from "../src/IConsortium.sol";
import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

contract StudyJoinTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
        admit(4);
    }

    function expectFromRound(uint16 round) private {
        vm.expectEmit(address(study));
        emit IStudy.StudyAccepted(id, site(4), 4, SPEC_HASH, link(4, 0), round);
    }

    function joinsIn(uint16 round) private {
        (,,, uint16 fromRound) = study.siteState(id, site(4));
        vm.assertEq(fromRound, round);
        while (view_().round + 1 < round) {
            completeRound(4);
            vm.assertEq(view_().eligible, 15);
        }
        if (view_().phase == IStudy.Phase.Collecting) commitAll(4);
        if (view_().phase == IStudy.Phase.Merging) publish();
        attestAll();
        vm.assertEq(view_().round, round);
        vm.assertEq(view_().eligible, 31);
        commit(4);
    }

    function test_who_accepts_while_it_collects_joins_the_next_round() public {
        commit(0);
        expectFromRound(2);
        accept(4);
        vm.assertEq(view_().eligible, 15);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundNotEligible.selector, 1, site(4)));
        commit(4, 1, 0, commitment(4));
        commit(1);
        commit(2);
        commit(3);
        joinsIn(2);
    }

    function test_who_accepts_while_it_merges_joins_the_next_round() public {
        commitAll(4);
        expectFromRound(2);
        accept(4);
        joinsIn(2);
    }

    function test_who_accepts_while_it_reviews_joins_the_round_after_the_next() public {
        // attestations bring commits of the next round, whose reveals a joiner's tip must not have seen
        commitAll(4);
        publish();
        expectFromRound(3);
        accept(4);
        attestAll();
        vm.assertEq(view_().eligible, 15);
        joinsIn(3);
    }

    function test_a_retry_is_not_the_next_round() public {
        commitAll(4);
        accept(4);
        for (uint256 i = 0; i < 4; ++i) {
            vm.warp(view_().deadline + 1);
            rotate();
        }
        vm.assertEq(view_().attempt, 1);
        vm.assertEq(view_().eligible, 15);
        joinsIn(2);
    }

    function test_nobody_joins_when_no_round_is_left_to_join() public {
        completeRound(4);
        commitAll(4);
        publish(); // in the review of round 2 of 3
        bytes memory refusal = abi.encodeWithSelector(IStudy.StudyTooLate.selector, view_().deadline);
        vm.expectRevert(refusal);
        accept(4);
        attestAll();
        refusal = abi.encodeWithSelector(IStudy.StudyTooLate.selector, view_().deadline);
        vm.expectRevert(refusal);
        accept(4);
    }

    function test_a_joiner_accepts_once_and_that_specification() public {
        accept(4);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyAlreadyAnswered.selector, id, site(4)));
        accept(4);
        vm.prank(site(4));
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyWrongSpecification.selector, bytes32("x"), SPEC_HASH));
        study.accept(id, "x", link(4, 0));
    }

    function test_a_joiner_that_withdraws_before_its_round_never_joins() public {
        commitAll(4);
        accept(4);
        withdraw(4);
        publish();
        attestAll();
        vm.assertEq(view_().eligible, 15);
    }

    function test_nor_does_one_that_accepted_in_a_review() public {
        commitAll(4);
        publish();
        accept(4);
        withdraw(4);
        attestAll();
        completeRound(4);
        vm.assertEq(view_().round, 3);
        vm.assertEq(view_().eligible, 15);
    }
}

contract StudyLeaveTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
    }

    function test_a_site_withdraws() public {
        vm.expectEmit(address(study));
        emit IStudy.SiteWithdrew(id, site(1), 1);
        withdraw(1);
        vm.assertEq(view_().eligible, 13);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundNotEligible.selector, 1, site(1)));
        commit(1, 1, 0, commitment(1));
    }

    function test_for_good() public {
        withdraw(1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyNotParticipant.selector, id, site(1)));
        withdraw(1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyAlreadyAnswered.selector, id, site(1)));
        accept(1);
    }

    function test_only_participants_withdraw() public {
        admit(4);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyNotParticipant.selector, id, site(4)));
        withdraw(4);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(5)));
        withdraw(5);
    }

    function test_from_a_running_study_only() public {
        proposed(4, defaultTerms());
        accept(0);
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        withdraw(0);
    }

    function test_who_leaves_the_consortium_is_out_of_the_study_until_it_comes_back() public {
        remove(2);
        vm.assertEq(view_().eligible, 11);
        admit(2);
        vm.assertEq(view_().eligible, 15);
    }

    function test_who_comes_back_has_spent_what_it_had() public {
        completeRound(4);
        remove(2);
        admit(2);
        IStudy.Commitment memory c = commitment(2);
        c.epsilonSpent = 0;
        vm.expectRevert(abi.encodeWithSelector(IStudy.CommitEpsilonDecreased.selector, 0, 100_000));
        commit(2, 2, 0, c);
    }
}

/// @dev Of four participants three make a quorum, of three two.
contract StudyAbortTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
    }

    function voteAbort(uint256 i) private {
        vm.prank(site(i));
        study.voteAbort(id);
    }

    function aborts() private {
        voteAbort(0);
        vm.expectEmit(address(study));
        emit IStudy.AbortVoted(id, site(1), 1);
        voteAbort(1);
        assertStatus(IStudy.Status.Running);
        vm.expectEmit(address(study));
        emit IStudy.AbortVoted(id, site(2), 2);
        vm.expectEmit(address(study));
        emit IStudy.StudyAborted(id, IStudy.AbortReason.Voted);
        voteAbort(2);
        assertStatus(IStudy.Status.Aborted);
        assertPhase(IStudy.Phase.Idle);
    }

    function test_a_quorum_aborts_a_round_that_collects() public {
        commit(0);
        aborts();
    }

    function test_a_quorum_aborts_a_round_that_merges() public {
        commitAll(4);
        aborts();
    }

    function test_a_quorum_aborts_a_round_that_is_reviewed() public {
        completeRound(4);
        bytes32 lastFinal = view_().lastFinal;
        commitAll(4);
        publish(keccak256("another"));
        attestAndCommit(follower(0));
        aborts();
        vm.assertEq(view_().lastFinal, lastFinal);
    }

    function test_nobody_votes_twice() public {
        voteAbort(0);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyAlreadyVoted.selector, id, site(0)));
        voteAbort(0);
    }

    function test_only_participants_vote() public {
        admit(4);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyNotParticipant.selector, id, site(4)));
        voteAbort(4);
        remove(3);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(3)));
        voteAbort(3);
    }

    function test_on_a_running_study() public {
        proposed(4, defaultTerms());
        accept(0);
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        voteAbort(0);
    }

    function test_a_joiner_is_a_participant_from_its_acceptance_on() public {
        admit(4);
        accept(4); // of five, four
        voteAbort(0);
        voteAbort(1);
        voteAbort(4);
        assertStatus(IStudy.Status.Running);
        voteAbort(2);
        assertStatus(IStudy.Status.Aborted);
    }

    function test_votes_of_sites_that_left_count_no_more() public {
        voteAbort(0);
        voteAbort(1);
        withdraw(1);
        remove(0);
        voteAbort(2);
        assertStatus(IStudy.Status.Running);
        voteAbort(3);
        assertStatus(IStudy.Status.Aborted);
    }

    function test_votes_that_departures_made_a_quorum_are_carried_out_when_one_is_repeated() public {
        voteAbort(0);
        voteAbort(1);
        withdraw(3);
        assertStatus(IStudy.Status.Running);
        vm.expectEmit(address(study));
        emit IStudy.StudyAborted(id, IStudy.AbortReason.Voted);
        voteAbort(0);
    }
}
