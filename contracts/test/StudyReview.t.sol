// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IConsortium} from "../src/IConsortium.sol";
import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

/// @dev Of four committers three make a quorum, and two rejections make it unreachable.
contract StudyReviewTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
        commitAll(4);
        publish();
    }

    /// @dev Each of the three ways to vote refuses alike.
    function refused(uint256 i, uint16 round, uint16 term, bytes32 output, bytes memory refusal) internal {
        IStudy.Commitment memory next = commitment(i);
        vm.prank(site(i));
        vm.expectRevert(refusal);
        study.attest(id, round, term, output);
        vm.prank(site(i));
        vm.expectRevert(refusal);
        study.reject(id, round, term, output, 1);
        vm.prank(site(i));
        vm.expectRevert(refusal);
        study.attestAndCommit(id, round, term, output, next);
    }

    function test_an_attestation_is_on_record() public {
        uint256 i = follower(0);
        vm.expectEmit(address(study));
        emit IStudy.OutputAttested(id, 1, site(i), 0, uint8(i), OUTPUT);
        attest(i);
        vm.assertEq(view_().attested, (1 << i) | (1 << leader()));
        assertPhase(IStudy.Phase.Reviewing);
    }

    function test_the_attestation_that_makes_a_quorum_makes_it_final() public {
        uint256 attested = (1 << leader()) | (1 << follower(0)) | (1 << follower(1));
        attest(follower(0));
        vm.expectEmit(address(study));
        emit IStudy.RoundFinalised(id, 1, 0, OUTPUT, 15, attested);
        vm.expectEmit(address(study));
        emit IStudy.RoundOpened(id, 2, 0, 15, uint64(block.timestamp) + 600);
        attest(follower(1));
        IStudy.View memory at = view_();
        assertPhase(IStudy.Phase.Collecting);
        vm.assertEq(at.round, 2);
        vm.assertEq(at.lastFinal, OUTPUT);
        vm.assertEq(at.output, 0);
        vm.assertEq(at.committed | at.attested | at.rejected, 0);
    }

    function test_a_rejection_is_on_record() public {
        uint256 i = follower(0);
        vm.expectEmit(address(study));
        emit IStudy.OutputRejected(id, 1, site(i), 0, uint8(i), OUTPUT, 1);
        reject(i);
        vm.assertEq(view_().rejected, 1 << i);
        assertPhase(IStudy.Phase.Reviewing);
    }

    function test_the_rejection_that_makes_a_quorum_unreachable_ends_the_term() public {
        uint256 failed = leader();
        reject(follower(0));
        vm.expectEmit(address(study));
        emit IStudy.LeaderFailed(id, 1, site(failed), 0, IStudy.Fault.Rejected);
        reject(follower(1));
        IStudy.View memory at = view_();
        assertPhase(IStudy.Phase.Merging);
        vm.assertEq(at.term, 1);
        vm.assertTrue(at.leaderSeat != failed);
        vm.assertEq(at.committed, 15);
        vm.assertEq(at.attested | at.rejected, 0);
        vm.assertEq(at.output, 0);
        vm.assertEq(at.lastFinal, 0);
    }

    function test_a_vote_is_in_time_until_the_term_has_ended() public {
        vm.warp(view_().deadline + 1000);
        attest(follower(0));
        attest(follower(1));
        vm.assertEq(view_().round, 2);
    }

    function test_nobody_votes_twice() public {
        uint256 i = follower(0);
        bytes memory refusal = abi.encodeWithSelector(IStudy.ReviewAlreadyVoted.selector, 1, site(i));
        attest(i);
        refused(i, 1, 0, OUTPUT, refusal);
    }

    function test_nobody_attests_what_it_rejected() public {
        uint256 i = follower(0);
        bytes memory refusal = abi.encodeWithSelector(IStudy.ReviewAlreadyVoted.selector, 1, site(i));
        reject(i);
        refused(i, 1, 0, OUTPUT, refusal);
    }

    function test_the_leader_has_voted_by_publishing() public {
        bytes memory refusal = abi.encodeWithSelector(IStudy.ReviewAlreadyVoted.selector, 1, site(leader()));
        refused(leader(), 1, 0, OUTPUT, refusal);
    }

    function test_votes_are_on_what_was_published() public {
        bytes32 other = keccak256("another");
        refused(follower(0), 1, 0, other, abi.encodeWithSelector(IStudy.ReviewWrongOutput.selector, other, OUTPUT));
    }

    function test_in_the_current_round() public {
        refused(follower(0), 2, 0, OUTPUT, abi.encodeWithSelector(IStudy.RoundWrongNumber.selector, 2, 1));
    }

    function test_in_the_current_term() public {
        refused(follower(0), 1, 1, OUTPUT, abi.encodeWithSelector(IStudy.RoundWrongTerm.selector, 1, 0));
    }

    function test_after_the_publication() public {
        reject(follower(0));
        reject(follower(1));
        refused(follower(0), 1, 1, OUTPUT, wrongPhase(IStudy.Phase.Merging));
    }

    function test_and_before_finality() public {
        attestAll();
        refused(0, 2, 0, OUTPUT, wrongPhase(IStudy.Phase.Collecting));
    }

    function test_of_a_running_study() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(site(i));
            study.voteAbort(id);
        }
        refused(0, 1, 0, OUTPUT, wrongStatus(IStudy.Status.Aborted));
    }

    function test_by_members() public {
        uint256 i = follower(0);
        remove(i);
        refused(i, 1, 0, OUTPUT, abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(i)));
    }

    function test_that_did_not_withdraw() public {
        uint256 i = follower(0);
        withdraw(i);
        refused(i, 1, 0, OUTPUT, abi.encodeWithSelector(IStudy.ReviewNotCommitter.selector, 1, site(i)));
    }

    function test_and_committed_this_round() public {
        running(4, defaultTerms());
        commit(0);
        commit(1);
        commit(2);
        vm.warp(view_().sealableAt);
        sealRound();
        publish();
        refused(3, 1, 0, OUTPUT, abi.encodeWithSelector(IStudy.ReviewNotCommitter.selector, 1, site(3)));
        attestAll();
        commit(3);
        vm.assertEq(view_().committed, 8);
    }

    // -- with sites that leave -----------------------------------------------------------------------------------

    function test_the_quorum_is_of_those_who_are_left() public {
        running(5, defaultTerms()); // of five, four
        commitAll(5);
        publish();
        attest(follower(0));
        remove(follower(3)); // of four, three
        vm.assertEq(view_().round, 1);
        attest(follower(1));
        vm.assertEq(view_().round, 2);
    }

    function test_an_attestation_counts_no_more_when_its_site_left() public {
        uint256 gone = follower(0);
        attest(gone);
        remove(gone); // of three, two
        vm.assertEq(view_().attested, (1 << leader()) | (1 << gone));
        vm.expectEmit(address(study));
        emit IStudy.RoundFinalised(id, 1, 0, OUTPUT, 15, (1 << leader()) | (1 << follower(1)));
        attest(follower(1));
    }

    function test_a_quorum_that_a_departure_left_is_made_final_by_rotate() public {
        uint256 attested = (1 << leader()) | (1 << follower(0));
        attest(follower(0));
        rotateRefused();
        withdraw(follower(2)); // of three, two
        vm.expectEmit(address(study));
        emit IStudy.RoundFinalised(id, 1, 0, OUTPUT, 15, attested);
        rotate();
        vm.assertEq(view_().round, 2);
    }

    function test_a_rejection_that_departures_completed_is_carried_out_by_rotate() public {
        uint256 failed = leader();
        attest(follower(0));
        reject(follower(1));
        rotateRefused();
        withdraw(follower(0)); // of three two must attest, and two can
        rotateRefused();
        withdraw(follower(2)); // of two both must, and one rejected
        vm.expectEmit(address(study));
        emit IStudy.LeaderFailed(id, 1, site(failed), 0, IStudy.Fault.Rejected);
        rotate();
    }

    function test_nothing_is_final_where_fewer_than_min_sites_are_left() public {
        uint256 failed = leader();
        attest(follower(0));
        withdraw(follower(1));
        withdraw(follower(2)); // of two both attested, and three make a round
        rotateRefused();
        vm.warp(view_().deadline + 1);
        vm.expectEmit(address(study));
        emit IStudy.LeaderFailed(id, 1, site(failed), 0, IStudy.Fault.ReviewTimeout);
        rotate();
        publish(); // nor is it where the other one leads
        vm.assertEq(view_().round, 1);
        assertPhase(IStudy.Phase.Reviewing);
    }

    function test_a_lone_liar_cannot_make_its_output_final() public {
        uint256 liar = leader();
        vm.warp(view_().deadline + 1);
        rotate(); // now in the merge of the next term
        for (uint256 i = 0; i < 4; ++i) {
            if (i != leader()) withdraw(i);
        }
        vm.assertTrue(leader() != liar);
        publish(keccak256("a lie"));
        vm.assertEq(view_().round, 1);
        vm.assertEq(view_().lastFinal, 0);
    }

    function rotateRefused() private {
        bytes memory refusal = abi.encodeWithSelector(IStudy.StudyTooEarly.selector, view_().deadline);
        vm.expectRevert(refusal);
        study.rotate(id, 1, 0);
    }
}

contract StudyAttestAndCommitTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
        commitAll(4);
        publish();
    }

    function test_the_commit_waits_for_finality() public {
        uint256 i = follower(0);
        IStudy.Commitment memory c = commitment(i);
        vm.expectEmit(address(study));
        emit IStudy.OutputAttested(id, 1, site(i), 0, uint8(i), OUTPUT);
        vm.expectEmit(address(study));
        emit IStudy.UpdateCommitted(id, 2, site(i), 0, uint8(i), c);
        attestAndCommit(i);
        vm.assertEq(view_().nextCommitted, 1 << i);
        vm.assertEq(view_().committed, 15);
        (bytes32 last, uint64 spent,,) = study.siteState(id, site(i));
        vm.assertEq(last, c.reveal);
        vm.assertEq(spent, c.epsilonSpent);
    }

    function test_the_one_that_makes_the_output_final_commits_to_the_new_round() public {
        uint256 i = follower(0);
        uint256 j = follower(1);
        attestAndCommit(i);
        IStudy.Commitment memory c = commitment(j);
        vm.expectEmit(address(study));
        emit IStudy.UpdateCommitted(id, 2, site(j), 0, uint8(j), c);
        vm.expectEmit(address(study));
        emit IStudy.RoundOpened(id, 2, 0, 15, uint64(block.timestamp) + 600);
        attestAndCommit(j);
        vm.assertEq(view_().committed, (1 << i) | (1 << j));
        vm.assertEq(view_().nextCommitted, 0);
    }

    function test_a_commit_that_waited_is_in_the_round_and_its_seed() public {
        uint256 i = follower(0);
        bytes32 seed = view_().seed;
        bytes32 mix;
        for (uint256 k = 0; k < 4; ++k) {
            mix ^= keccak256(abi.encode(k, link(k, 2)));
        }
        attestAndCommit(i);
        attestAndCommit(follower(1));
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundAlreadyCommitted.selector, 2, site(i)));
        commit(i, 2, 0, commitment(i));
        uint256 failed = leader();
        commit(failed);
        for (uint256 k = 0; view_().phase == IStudy.Phase.Collecting; ++k) {
            if (view_().committed & (1 << k) == 0) commit(k);
        }
        vm.assertEq(view_().seed, keccak256(abi.encode(seed, mix, 2, 0)));
    }

    function test_min_sites_that_waited_start_the_grace_time_with_the_round() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.quorumBps = 10000;
        running(5, terms);
        commitAll(5);
        publish();
        attestAndCommit(follower(0));
        attestAndCommit(follower(1));
        attestAndCommit(follower(2));
        attest(follower(3));
        vm.assertEq(view_().sealableAt, uint64(block.timestamp) + 60);
    }

    function test_commits_that_waited_can_complete_the_round_as_it_opens() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.minSites = 2;
        running(5, terms);
        commitAll(5);
        publish();
        attestAndCommit(follower(0));
        attestAndCommit(follower(1));
        uint256 both = (1 << follower(0)) | (1 << follower(1));
        withdraw(leader());
        withdraw(follower(2));
        withdraw(follower(3));
        rotate(); // both who are left attested, and both have committed
        vm.assertEq(view_().round, 2);
        vm.assertEq(view_().committed, both);
        assertPhase(IStudy.Phase.Merging);
    }

    function test_the_last_round_has_no_next() public {
        publishedLast();
        uint256 i = follower(0);
        IStudy.Commitment memory c = commitment(i);
        vm.prank(site(i));
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongNumber.selector, 4, 3));
        study.attestAndCommit(id, 3, 0, OUTPUT, c);
    }

    function test_the_study_ends_with_its_last_round() public {
        publishedLast();
        attest(follower(0));
        vm.expectEmit(address(study));
        emit IStudy.StudyFinished(id, OUTPUT);
        attest(follower(1));
        assertStatus(IStudy.Status.Finished);
        assertPhase(IStudy.Phase.Idle);
        vm.assertEq(view_().lastFinal, OUTPUT);
        vm.expectRevert(wrongStatus(IStudy.Status.Finished));
        commit(0, 3, 0, commitment(0));
    }

    function publishedLast() private {
        attestAll();
        completeRound(4);
        commitAll(4);
        publish();
    }

    function test_the_commit_obeys_the_rules_of_any_commit() public {
        uint256 i = follower(0);
        IStudy.Commitment memory c = commitment(i);
        c.weight = 0;
        bytes memory refusal = abi.encodeWithSelector(IStudy.CommitInvalidWeight.selector, 0, 1000);
        vm.prank(site(i));
        vm.expectRevert(refusal);
        study.attestAndCommit(id, 1, 0, OUTPUT, c);
        vm.assertEq(view_().attested, 1 << leader()); // and without it there is no attestation either
        attestAndCommit(follower(1));
        vm.prank(site(i));
        vm.expectRevert(refusal);
        study.attestAndCommit(id, 1, 0, OUTPUT, c);
        vm.assertEq(view_().round, 1);
    }

    function test_a_rejected_output_voids_the_commits_made_on_it() public {
        uint256 i = follower(0);
        attestAndCommit(i);
        reject(follower(1));
        vm.expectEmit(address(study));
        emit IStudy.CommitsVoided(id, 2, 1 << i);
        reject(follower(2));
        vm.assertEq(view_().nextCommitted, 0);
    }

    function test_so_does_an_attestation_that_departures_made_too_late() public {
        uint256 last = follower(2);
        uint256 failed = leader();
        reject(follower(0));
        withdraw(follower(1));
        withdraw(failed); // two are left, of whom both must attest, and one rejected
        IStudy.Commitment memory c = commitment(last);
        vm.expectEmit(address(study));
        emit IStudy.UpdateCommitted(id, 2, site(last), 0, uint8(last), c);
        vm.expectEmit(address(study));
        emit IStudy.LeaderFailed(id, 1, site(failed), 0, IStudy.Fault.Rejected);
        vm.expectEmit(address(study));
        emit IStudy.CommitsVoided(id, 2, 1 << last);
        attestAndCommit(last);
        vm.assertEq(view_().nextCommitted, 0);
        assertPhase(IStudy.Phase.Merging);
    }

    function test_a_site_whose_commit_was_voided_commits_again_with_its_next_link() public {
        uint256 i = follower(0);
        attestAndCommit(i);
        vm.warp(view_().deadline + 1);
        rotate();
        publish(keccak256("another"));
        attestAll();
        vm.assertEq(view_().round, 2);
        vm.assertEq(view_().committed, 0);
        IStudy.Commitment memory again = commitment(i);
        again.reveal = link(i, 2);
        vm.expectRevert(abi.encodeWithSelector(IStudy.CommitStaleReveal.selector, link(i, 2), link(i, 2)));
        commit(i, 2, 0, again);
        commit(i);
        vm.assertEq(view_().committed, 1 << i);
    }

    function test_a_waiting_commit_of_a_site_that_left_counts_for_nothing() public {
        uint256 gone = follower(0);
        attestAndCommit(gone);
        remove(gone);
        attest(follower(1));
        vm.assertEq(view_().round, 2);
        vm.assertEq(view_().committed, 1 << gone);
        for (uint256 i = 0; i < 4; ++i) {
            if (i != gone) commit(i);
        }
        assertPhase(IStudy.Phase.Merging);
        vm.assertEq(view_().committed, 15 & ~(1 << gone));
    }
}
