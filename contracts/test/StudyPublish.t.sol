// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

contract StudyPublishTest is Studies {
    function setUp() public {
        running(4, defaultTerms());
        commitAll(4);
    }

    function refused(bytes32 output, uint256 merged, bytes memory reasons, bytes memory refusal) private {
        vm.prank(site(leader()));
        vm.expectRevert(refusal);
        study.publish(id, 1, 0, output, merged, reasons);
    }

    function test_the_leader_publishes_and_so_attests() public {
        uint256 seat = leader();
        vm.expectEmit(address(study));
        emit IStudy.ModelPublished(id, 1, site(seat), 0, OUTPUT, 15, "", uint64(block.timestamp) + 200);
        publish();
        IStudy.View memory at = view_();
        assertPhase(IStudy.Phase.Reviewing);
        vm.assertEq(at.output, OUTPUT);
        vm.assertEq(at.attested, 1 << seat);
        vm.assertEq(at.deadline, uint64(block.timestamp) + 200);
    }

    function test_what_is_left_out_has_a_reason() public {
        uint256 seat = leader();
        uint256 merged = 15 & ~uint256(1 << follower(1));
        vm.expectEmit(address(study));
        emit IStudy.ModelPublished(id, 1, site(seat), 0, OUTPUT, merged, hex"04", uint64(block.timestamp) + 200);
        vm.prank(site(seat));
        study.publish(id, 1, 0, OUTPUT, merged, hex"04");
    }

    function test_a_publication_is_in_time_until_the_term_has_ended() public {
        vm.warp(view_().deadline + 1000);
        publish();
        assertPhase(IStudy.Phase.Reviewing);
    }

    function test_nobody_else_publishes() public {
        uint256 other = follower(0);
        uint256 seat = leader();
        bytes memory refusal = abi.encodeWithSelector(IStudy.PublishNotLeader.selector, site(other), site(seat));
        vm.prank(site(other));
        vm.expectRevert(refusal);
        study.publish(id, 1, 0, OUTPUT, 15, "");
    }

    function test_nor_a_leader_that_was_removed() public {
        uint256 seat = leader();
        remove(seat);
        vm.prank(site(seat));
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyNotParticipant.selector, id, site(seat)));
        study.publish(id, 1, 0, OUTPUT, 15, "");
    }

    function test_nor_a_leader_that_withdrew() public {
        uint256 seat = leader();
        withdraw(seat);
        vm.prank(site(seat));
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyNotParticipant.selector, id, site(seat)));
        study.publish(id, 1, 0, OUTPUT, 15, "");
    }

    function test_nor_a_leader_whose_term_ended() public {
        uint256 failed = leader();
        vm.warp(view_().deadline + 1);
        rotate();
        vm.prank(site(failed));
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongTerm.selector, 0, 1));
        study.publish(id, 1, 0, OUTPUT, 15, "");
        bytes memory refusal = abi.encodeWithSelector(IStudy.PublishNotLeader.selector, site(failed), site(leader()));
        vm.prank(site(failed));
        vm.expectRevert(refusal);
        study.publish(id, 1, 1, OUTPUT, 15, "");
    }

    function test_once_a_term() public {
        publish();
        refused(keccak256("another"), 15, "", wrongPhase(IStudy.Phase.Reviewing));
    }

    function test_when_the_round_is_sealed() public {
        publish();
        attestAll();
        vm.prank(site(0));
        vm.expectRevert(wrongPhase(IStudy.Phase.Collecting));
        study.publish(id, 2, 0, OUTPUT, 15, "");
    }

    function test_of_the_current_round() public {
        vm.prank(site(leader()));
        vm.expectRevert(abi.encodeWithSelector(IStudy.RoundWrongNumber.selector, 2, 1));
        study.publish(id, 2, 0, OUTPUT, 15, "");
    }

    function test_in_a_running_study_only() public {
        proposed(4, defaultTerms());
        vm.prank(site(0));
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        study.publish(id, 1, 0, OUTPUT, 15, "");
    }

    function test_an_output() public {
        refused(0, 15, "", abi.encodeWithSelector(IStudy.PublishInvalidOutput.selector));
    }

    function test_made_of_committed_updates_only() public {
        refused(OUTPUT, 31, "", abi.encodeWithSelector(IStudy.PublishNotCommitted.selector, 31, 15));
    }

    function test_and_of_min_sites_at_least() public {
        refused(OUTPUT, 3, hex"0101", abi.encodeWithSelector(IStudy.PublishTooFewMerged.selector, 2, 3));
    }

    function test_with_one_reason_for_each_left_out() public {
        refused(OUTPUT, 7, "", abi.encodeWithSelector(IStudy.PublishInvalidReasons.selector, 0, 1));
        refused(OUTPUT, 7, hex"0101", abi.encodeWithSelector(IStudy.PublishInvalidReasons.selector, 2, 1));
        refused(OUTPUT, 15, hex"01", abi.encodeWithSelector(IStudy.PublishInvalidReasons.selector, 1, 0));
    }

    function test_the_updates_of_a_site_that_left_since_may_be_merged() public {
        remove(follower(0));
        publish();
        vm.assertEq(view_().committed, 15);
    }

    function test_a_lone_site_makes_its_model_final_by_publishing() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.minSites = 1;
        running(1, terms);
        commit(0);
        vm.expectEmit(address(study));
        emit IStudy.RoundFinalised(id, 1, 0, OUTPUT, 1, 1);
        publish();
        vm.assertEq(view_().round, 2);
    }
}
