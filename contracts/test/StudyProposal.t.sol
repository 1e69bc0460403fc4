// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IConsortium} from "../src/IConsortium.sol";
import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

contract StudyProposeTest is Studies {
    function setUp() public {
        found(4);
        deployStudy();
    }

    function refused(IStudy.Terms memory terms, string memory field) private {
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyInvalidTerms.selector, field));
        study.propose(SPEC, terms);
    }

    function test_a_member_proposes_a_study() public {
        IStudy.Terms memory terms = defaultTerms();
        uint64 deadline = uint64(block.timestamp) + terms.acceptSeconds;
        vm.expectEmit(address(study));
        emit IStudy.StudyProposed(1, site(2), SPEC_HASH, terms, deadline, SPEC);
        vm.prank(site(2));
        id = study.propose(SPEC, terms);
        vm.assertEq(id, 1);
        vm.assertEq(study.studyCount(), 1);
        vm.assertEq(address(study.consortium()), address(consortium));
        vm.assertEq(keccak256(abi.encode(study.termsOf(id))), keccak256(abi.encode(terms)));
        IStudy.View memory at = view_();
        assertStatus(IStudy.Status.Proposed);
        assertPhase(IStudy.Phase.Idle);
        vm.assertEq(at.deadline, deadline);
        vm.assertEq(at.specHash, SPEC_HASH);
    }

    function test_only_members_propose() public {
        vm.prank(site(4));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(4)));
        study.propose(SPEC, defaultTerms());
    }

    function test_a_specification_has_1_to_65536_bytes() public {
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyInvalidSpecification.selector, 0, 65536));
        study.propose("", defaultTerms());
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyInvalidSpecification.selector, 65537, 65536));
        study.propose(new bytes(65537), defaultTerms());
    }

    function test_rounds_are_1_to_65534() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.rounds = 0;
        refused(terms, "rounds");
        terms.rounds = 65535;
        refused(terms, "rounds");
    }

    function test_sites_are_1_to_256() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.minSites = 0;
        refused(terms, "minSites");
        terms.minSites = 257;
        refused(terms, "minSites");
    }

    function test_a_quorum_is_a_majority() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.quorumBps = 5000;
        refused(terms, "quorumBps");
        terms.quorumBps = 10001;
        refused(terms, "quorumBps");
    }

    function test_every_wait_but_the_grace_lasts() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.acceptSeconds = 0;
        refused(terms, "acceptSeconds");
        terms = defaultTerms();
        terms.collectSeconds = 0;
        refused(terms, "collectSeconds");
        terms = defaultTerms();
        terms.mergeSeconds = 0;
        refused(terms, "mergeSeconds");
        terms = defaultTerms();
        terms.reviewSeconds = 0;
        refused(terms, "reviewSeconds");
        terms = defaultTerms();
        terms.leastSeconds = 0;
        refused(terms, "leastSeconds");
        terms = defaultTerms();
        terms.graceSeconds = 0;
        vm.prank(site(0));
        study.propose(SPEC, terms);
    }

    function test_weights_and_updates_have_bounds() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.weightCap = 0;
        refused(terms, "weightCap");
        terms = defaultTerms();
        terms.clipBound = 0;
        refused(terms, "clipBound");
    }
}

contract StudyAnswerTest is Studies {
    function setUp() public {
        proposed(4, defaultTerms());
    }

    function decline(uint256 i) private {
        vm.prank(site(i));
        study.decline(id, SPEC_HASH);
    }

    function test_a_site_accepts_with_its_tip() public {
        vm.expectEmit(address(study));
        emit IStudy.StudyAccepted(id, site(1), 1, SPEC_HASH, link(1, 0), 1);
        accept(1);
        (bytes32 tip, uint64 spent, bool accepted, uint16 fromRound) = study.siteState(id, site(1));
        vm.assertEq(tip, link(1, 0));
        vm.assertEq(spent, 0);
        vm.assertTrue(accepted);
        vm.assertEq(fromRound, 1);
    }

    function test_the_statistics_round_is_round_0() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.statistics = true;
        proposed(4, terms);
        vm.expectEmit(address(study));
        emit IStudy.StudyAccepted(id, site(1), 1, SPEC_HASH, link(1, 0), 0);
        accept(1);
    }

    function test_a_site_declines() public {
        vm.expectEmit(address(study));
        emit IStudy.StudyDeclined(id, site(1), 1, SPEC_HASH);
        decline(1);
        (,, bool accepted,) = study.siteState(id, site(1));
        vm.assertFalse(accepted);
    }

    function test_only_members_answer() public {
        bytes memory refusal = abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(4));
        vm.expectRevert(refusal);
        accept(4);
        vm.expectRevert(refusal);
        decline(4);
    }

    function test_sites_answer_the_specification_that_was_proposed() public {
        bytes memory refusal =
            abi.encodeWithSelector(IStudy.StudyWrongSpecification.selector, bytes32("another"), SPEC_HASH);
        vm.prank(site(1));
        vm.expectRevert(refusal);
        study.accept(id, "another", link(1, 0));
        vm.prank(site(1));
        vm.expectRevert(refusal);
        study.decline(id, "another");
    }

    function test_a_site_accepts_once() public {
        accept(1);
        bytes memory refusal = abi.encodeWithSelector(IStudy.StudyAlreadyAnswered.selector, id, site(1));
        vm.expectRevert(refusal);
        accept(1);
        vm.expectRevert(refusal);
        decline(1);
    }

    function test_a_site_declines_once_and_may_accept_after_all() public {
        decline(1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyAlreadyAnswered.selector, id, site(1)));
        decline(1);
        accept(1);
        (,, bool accepted,) = study.siteState(id, site(1));
        vm.assertTrue(accepted);
    }

    function test_answers_count_up_to_the_deadline_and_not_after() public {
        uint64 deadline = view_().deadline;
        vm.warp(deadline);
        accept(0);
        vm.warp(deadline + 1);
        bytes memory refusal = abi.encodeWithSelector(IStudy.StudyTooLate.selector, deadline);
        vm.expectRevert(refusal);
        accept(1);
        vm.expectRevert(refusal);
        decline(1);
    }

    function test_there_is_no_study_0() public {
        id = 0;
        vm.expectRevert(wrongStatus(IStudy.Status.None));
        accept(0);
    }

    function test_an_aborted_study_takes_no_answers() public {
        vm.warp(view_().deadline + 1);
        study.lapse(id);
        vm.expectRevert(wrongStatus(IStudy.Status.Aborted));
        accept(0);
        vm.expectRevert(wrongStatus(IStudy.Status.Aborted));
        decline(0);
    }

    function test_a_running_study_is_not_declined() public {
        accept(0);
        accept(1);
        accept(2);
        vm.warp(view_().deadline + 1);
        study.start(id);
        vm.expectRevert(wrongStatus(IStudy.Status.Running));
        decline(3);
    }

    // -- starting ------------------------------------------------------------------------------------------------

    function expectStart(uint256 participants, uint16 round) private {
        bytes32 seed = keccak256(abi.encode(block.chainid, address(study), id, SPEC_HASH));
        vm.expectEmit(address(study));
        emit IStudy.StudyStarted(id, participants, seed);
        vm.expectEmit(address(study));
        emit IStudy.RoundOpened(id, round, 0, participants, uint64(block.timestamp) + 600);
    }

    function test_the_last_acceptance_starts_the_study() public {
        accept(0);
        accept(1);
        accept(2);
        assertStatus(IStudy.Status.Proposed);
        expectStart(15, 1);
        accept(3);
        assertStatus(IStudy.Status.Running);
        assertPhase(IStudy.Phase.Collecting);
        IStudy.View memory at = view_();
        vm.assertEq(at.eligible, 15);
        vm.assertEq(at.round, 1);
        vm.assertEq(at.sealableAt, at.deadline);
    }

    function test_the_last_answer_starts_the_study_though_it_is_a_refusal() public {
        accept(0);
        accept(1);
        accept(2);
        expectStart(7, 1);
        decline(3);
    }

    function test_a_study_starts_with_round_0_where_it_has_statistics() public {
        IStudy.Terms memory terms = defaultTerms();
        terms.statistics = true;
        proposed(4, terms);
        accept(0);
        accept(1);
        accept(2);
        expectStart(15, 0);
        accept(3);
    }

    function test_after_the_deadline_anybody_starts_it() public {
        accept(0);
        accept(1);
        accept(3);
        uint64 deadline = view_().deadline;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyTooEarly.selector, deadline));
        study.start(id);
        vm.warp(deadline + 1);
        expectStart(11, 1);
        study.start(id);
    }

    function test_it_starts_before_the_deadline_where_nobody_is_left_to_answer() public {
        accept(0);
        accept(1);
        accept(2);
        leave(3);
        expectStart(7, 1);
        study.start(id);
    }

    function test_too_few_sites_start_nothing() public {
        accept(0);
        accept(1);
        decline(2);
        decline(3);
        assertStatus(IStudy.Status.Proposed);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyTooFewSites.selector, 2, 3));
        study.start(id);
    }

    function test_a_site_that_left_is_not_one_of_them() public {
        accept(0);
        accept(1);
        accept(2);
        leave(2);
        vm.warp(view_().deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyTooFewSites.selector, 2, 3));
        study.start(id);
    }

    function test_only_a_proposed_study_starts_or_lapses() public {
        running(4, defaultTerms());
        vm.expectRevert(wrongStatus(IStudy.Status.Running));
        study.start(id);
        vm.expectRevert(wrongStatus(IStudy.Status.Running));
        study.lapse(id);
    }

    // -- lapsing -------------------------------------------------------------------------------------------------

    function test_after_the_deadline_anybody_lets_it_lapse() public {
        accept(0);
        accept(1);
        uint64 deadline = view_().deadline;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IStudy.StudyTooEarly.selector, deadline));
        study.lapse(id);
        vm.warp(deadline + 1);
        vm.expectEmit(address(study));
        emit IStudy.StudyAborted(id, IStudy.AbortReason.Lapsed);
        study.lapse(id);
        assertStatus(IStudy.Status.Aborted);
    }

    function test_it_does_not_lapse_where_it_could_start() public {
        accept(0);
        accept(1);
        accept(2);
        vm.warp(view_().deadline + 1);
        vm.expectRevert(wrongStatus(IStudy.Status.Proposed));
        study.lapse(id);
    }
}
