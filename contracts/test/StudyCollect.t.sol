// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Election} from "../src/Election.sol";
import {IConsortium} from "../src/IConsortium.sol";
import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

contract StudyCommitTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
    }

    function refused(uint256 i, IStudy.Commitment memory c, bytes memory refusal) private {
        vm.expectRevert(refusal);
        commit(i, 1, 0, c);
    }

    function test_a_commit_is_on_record() public {
        IStudy.Commitment memory c = commitment(2);
        vm.expectEmit(address(study));
        emit IStudy.UpdateCommitted(id, 1, site(2), 0, 2, c);
        commit(2);
        vm.assertEq(view_().committed, 4);
        (bytes32 last, uint64 spent,,) = study.siteState(id, site(2));
        vm.assertEq(last, c.reveal);
        vm.assertEq(spent, c.epsilonSpent);
    }

    function test_only_a_running_study_takes_commits() public {
        proposed(4, defaultTerms());
        IStudy.Commitment memory c = commitment(0);
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        commit(0, 1, 0, c);
    }

    function test_of_the_current_round() public {
        IStudy.Commitment memory c = commitment(0);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongNumber.selector, 2, 1));
        commit(0, 2, 0, c);
    }

    function test_of_the_current_attempt() public {
        IStudy.Commitment memory c = commitment(0);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongAttempt.selector, 1, 0));
        commit(0, 1, 1, c);
    }

    function test_while_it_collects() public {
        commit(0);
        commit(1);
        commit(2);
        vm.warp(view_().sealableAt);
        sealRound();
        refused(3, commitment(3), wrongPhase(IStudy.Phase.Merging));
        publish();
        refused(3, commitment(3), wrongPhase(IStudy.Phase.Reviewing));
    }

    function test_of_members_only() public {
        refused(4, commitment(4), abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(4)));
    }

    function test_of_sites_that_accepted_only() public {
        admit(4);
        refused(4, commitment(4), abi.encodeWithSelector(IStudy.RoundNotEligible.selector, 1, site(4)));
    }

    function test_once_a_round() public {
        commit(0);
        refused(0, commitment(0), abi.encodeWithSelector(IStudy.RoundAlreadyCommitted.selector, 1, site(0)));
    }

    function test_of_a_blob() public {
        IStudy.Commitment memory c = commitment(0);
        c.blob = 0;
        refused(0, c, abi.encodeWithSelector(IStudy.CommitInvalidBlob.selector));
    }

    function test_with_a_weight_up_to_the_cap() public {
        IStudy.Commitment memory c = commitment(0);
        c.weight = 0;
        refused(0, c, abi.encodeWithSelector(IStudy.CommitInvalidWeight.selector, 0, 1000));
        c.weight = 1001;
        refused(0, c, abi.encodeWithSelector(IStudy.CommitInvalidWeight.selector, 1001, 1000));
        c.weight = 1000;
        commit(0, 1, 0, c);
    }

    function test_with_epsilon_up_to_the_budget() public {
        IStudy.Commitment memory c = commitment(0);
        c.epsilonSpent = 8_000_001;
        refused(0, c, abi.encodeWithSelector(IStudy.CommitEpsilonBudgetExceeded.selector, 8_000_001, 8_000_000));
        c.epsilonSpent = 8_000_000;
        commit(0, 1, 0, c);
    }

    function test_without_epsilon_where_there_is_no_budget() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.epsilonBudget = 0;
        running(4, terms);
        IStudy.Commitment memory c = commitment(0);
        c.epsilonSpent = 1;
        refused(0, c, abi.encodeWithSelector(IStudy.CommitEpsilonBudgetExceeded.selector, 1, 0));
        c.epsilonSpent = 0;
        commit(0, 1, 0, c);
    }

    function test_with_epsilon_that_never_decreases() public {
        completeRound(4);
        IStudy.Commitment memory c = commitment(0);
        c.epsilonSpent = 99_999;
        vm.expectRevert(abi.encodeWithSelector(IStudy.CommitEpsilonDecreased.selector, 99_999, 100_000));
        commit(0, 2, 0, c);
        c.epsilonSpent = 100_000;
        commit(0, 2, 0, c);
    }

    function test_with_the_preimage_of_the_last_link() public {
        IStudy.Commitment memory c = commitment(0);
        c.reveal = link(0, 2); // skips one
        refused(0, c, abi.encodeWithSelector(IStudy.CommitStaleReveal.selector, link(0, 2), link(0, 0)));
        c.reveal = link(1, 1); // is somebody else's
        refused(0, c, abi.encodeWithSelector(IStudy.CommitStaleReveal.selector, link(1, 1), link(0, 0)));
    }

    function test_that_is_revealed_for_the_first_time() public {
        completeRound(4);
        IStudy.Commitment memory c = commitment(0);
        c.reveal = link(0, 1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.CommitStaleReveal.selector, link(0, 1), link(0, 1)));
        commit(0, 2, 0, c);
    }

    function test_under_the_history_that_its_signer_saw() public {
        IStudy.Commitment memory c = commitment(0);
        c.seenHash = keccak256("a rewritten history");
        bytes32 actual = blockhash(c.seenBlock);
        refused(0, c, abi.encodeWithSelector(IStudy.CommitOtherHistory.selector, c.seenBlock, c.seenHash, actual));
    }

    function test_which_is_recent() public {
        IStudy.Commitment memory c = commitment(0);
        c.seenBlock = uint64(block.number); // this very block has no hash yet
        refused(0, c, abi.encodeWithSelector(IStudy.CommitUnknownBlock.selector, c.seenBlock));
        c.seenBlock = uint64(block.number - 257); // nobody knows this one's any more
        refused(0, c, abi.encodeWithSelector(IStudy.CommitUnknownBlock.selector, c.seenBlock));
        c.seenBlock = uint64(block.number - 256);
        c.seenHash = blockhash(c.seenBlock);
        commit(0, 1, 0, c);
    }
}

contract StudySealTest is Studies {
    bytes32 private seed;

    function setUp() public {
        running(4, defaultTerms());
        seed = keccak256(abi.encode(block.chainid, address(study), id, SPEC_HASH));
    }

    function contribution(uint256 i) private pure returns (bytes32) {
        return keccak256(abi.encode(i, link(i, 1)));
    }

    function expectSeal(uint256 committed, bytes32 mix) private {
        bytes32 next = keccak256(abi.encode(seed, mix, 1, 0));
        uint8 seat = Election.leader(next, 0, committed);
        vm.expectEmit(address(study));
        emit IStudy.RoundSealed(id, 1, 0, committed, next);
        vm.expectEmit(address(study));
        emit IStudy.LeaderElected(id, 1, site(seat), 0, seat, uint64(block.timestamp) + 300);
    }

    function test_the_commit_that_completes_the_set_seals_the_round() public {
        commit(0);
        commit(1);
        commit(2);
        assertPhase(IStudy.Phase.Collecting);
        IStudy.Commitment memory last = commitment(3);
        expectSeal(15, contribution(0) ^ contribution(1) ^ contribution(2) ^ contribution(3));
        commit(3, 1, 0, last);
        assertPhase(IStudy.Phase.Merging);
    }

    function test_the_order_of_commits_does_not_matter() public {
        commit(3);
        commit(1);
        commit(0);
        IStudy.Commitment memory last = commitment(2);
        expectSeal(15, contribution(0) ^ contribution(1) ^ contribution(2) ^ contribution(3));
        commit(2, 1, 0, last);
    }

    function test_min_sites_wait_for_the_grace_time_and_no_longer() public {
        commit(0);
        commit(1);
        vm.assertEq(view_().sealableAt, view_().deadline);
        commit(3);
        uint64 sealableAt = uint64(block.timestamp) + 60;
        vm.assertEq(view_().sealableAt, sealableAt);
        vm.warp(sealableAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundNotSealable.selector, sealableAt));
        study.seal(id, 1, 0);
        vm.warp(sealableAt);
        expectSeal(11, contribution(0) ^ contribution(1) ^ contribution(3));
        study.seal(id, 1, 0);
    }

    function test_the_grace_time_ends_with_the_deadline() public {
        uint64 deadline = view_().deadline;
        commit(0);
        commit(1);
        vm.warp(deadline - 10);
        commit(2);
        vm.assertEq(view_().sealableAt, deadline);
        vm.warp(deadline);
        sealRound();
        assertPhase(IStudy.Phase.Merging);
    }

    function test_more_commits_do_not_prolong_the_grace_time() public {
        running(5, defaultTerms());
        commit(0);
        commit(1);
        commit(2);
        uint64 sealableAt = view_().sealableAt;
        vm.warp(sealableAt - 1);
        commit(3);
        vm.assertEq(view_().sealableAt, sealableAt);
    }

    function test_a_commit_is_in_time_until_the_round_is_sealed() public {
        commit(0);
        commit(1);
        commit(2);
        vm.warp(view_().deadline + 1000);
        commit(3);
        vm.assertEq(view_().committed, 15);
    }

    function test_fewer_than_min_sites_extend_the_round() public {
        commit(0);
        commit(1);
        uint64 deadline = view_().deadline;
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundNotSealable.selector, deadline));
        study.seal(id, 1, 0);
        vm.warp(deadline);
        vm.expectEmit(address(study));
        emit IStudy.RoundExtended(id, 1, 0, 3, deadline + 600);
        study.seal(id, 1, 0);
        vm.assertEq(view_().deadline, deadline + 600);
        vm.assertEq(view_().sealableAt, deadline + 600);
        commit(2);
        vm.assertEq(view_().sealableAt, deadline + 60);
    }

    function test_of_the_current_round_and_attempt() public {
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongNumber.selector, 0, 1));
        study.seal(id, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongAttempt.selector, 3, 0));
        study.seal(id, 1, 3);
    }

    function test_while_it_collects() public {
        commitAll(4);
        vm.expectRevert(wrongPhase(IStudy.Phase.Merging));
        study.seal(id, 1, 0);
    }

    function test_in_a_running_study_only() public {
        proposed(4, defaultTerms());
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        study.seal(id, 1, 0);
    }

    // -- with sites that leave -----------------------------------------------------------------------------------

    function test_a_departure_completes_the_set() public {
        commit(0);
        commit(1);
        commit(2);
        remove(3);
        vm.assertEq(view_().eligible, 7);
        expectSeal(7, contribution(0) ^ contribution(1) ^ contribution(2));
        study.seal(id, 1, 0); // before any grace time has passed
    }

    function test_a_commit_of_a_site_that_left_is_not_in_the_set() public {
        running(5, defaultTerms());
        seed = keccak256(abi.encode(block.chainid, address(study), id, SPEC_HASH));
        commitAll(4);
        remove(0);
        IStudy.Commitment memory last = commitment(4);
        bytes32 mix = contribution(0) ^ contribution(1) ^ contribution(2) ^ contribution(3) ^ contribution(4);
        expectSeal(30, mix); // the seed has its reveal none the less
        commit(4, 1, 0, last);
    }

    function test_a_commit_of_a_site_that_withdrew_is_not_in_the_set() public {
        commit(0);
        commit(1);
        commit(2);
        withdraw(1);
        IStudy.Commitment memory last = commitment(3);
        expectSeal(13, contribution(0) ^ contribution(1) ^ contribution(2) ^ contribution(3));
        commit(3, 1, 0, last);
    }

    function test_departures_can_leave_too_few() public {
        commit(0);
        commit(1);
        commit(2);
        withdraw(1);
        uint64 deadline = view_().deadline;
        vm.warp(view_().sealableAt);
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundNotSealable.selector, deadline));
        study.seal(id, 1, 0);
        withdraw(3); // all that are left have committed, and they are too few
        vm.warp(deadline);
        vm.expectEmit(address(study));
        emit IStudy.RoundExtended(id, 1, 0, 7, deadline + 600);
        study.seal(id, 1, 0);
    }

    function test_a_site_that_comes_back_is_eligible_as_before() public {
        commit(0);
        remove(3);
        admit(3);
        commit(3);
        vm.assertEq(view_().committed, 9);
    }
}
