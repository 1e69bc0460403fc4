// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Consortium} from "../src/Consortium.sol";
import {IConsortium} from "../src/IConsortium.sol";
import {Consortia} from "./support/Consortia.sol";
import {vm} from "./support/Vm.sol";

contract ConsortiumFoundingTest is Consortia {
    function test_founders_take_the_seats_in_order() public {
        vm.expectEmit();
        emit IConsortium.ConsortiumFounded(TWO_THIRDS, MOTION_SECONDS);
        for (uint8 i = 0; i < 3; ++i) {
            vm.expectEmit();
            emit IConsortium.SiteAdmitted(site(i), i, "a hospital");
        }
        found(3);
        vm.assertEq(consortium.activeSeats(), 7);
        vm.assertEq(consortium.quorumBps(), TWO_THIRDS);
        vm.assertEq(consortium.motionSeconds(), MOTION_SECONDS);
        for (uint8 i = 0; i < 3; ++i) {
            vm.assertEq(consortium.seatOf(site(i)), i);
            vm.assertEq(consortium.siteAt(i), site(i));
            vm.assertTrue(consortium.isMember(site(i)));
        }
        vm.assertEq(consortium.siteAt(3), address(0));
    }

    function test_a_quorum_that_is_no_majority_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidQuorum.selector, 5000));
        new Consortium(founders(3), 5000, MOTION_SECONDS);
    }

    function test_a_quorum_above_all_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidQuorum.selector, 10001));
        new Consortium(founders(3), 10001, MOTION_SECONDS);
    }

    function test_motions_must_last() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidDuration.selector, 0));
        new Consortium(founders(3), TWO_THIRDS, 0);
    }

    function test_somebody_must_found_it() public {
        vm.expectRevert(IConsortium.ConsortiumNoFounders.selector);
        new Consortium(founders(0), TWO_THIRDS, MOTION_SECONDS);
    }

    function test_the_zero_account_founds_nothing() public {
        IConsortium.Founder[] memory list = founders(2);
        list[1].account = address(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidAccount.selector, address(0)));
        new Consortium(list, TWO_THIRDS, MOTION_SECONDS);
    }

    function test_a_founder_has_one_seat() public {
        IConsortium.Founder[] memory list = founders(2);
        list[1].account = site(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyMember.selector, site(0)));
        new Consortium(list, TWO_THIRDS, MOTION_SECONDS);
    }

    function test_a_founder_has_a_name() public {
        IConsortium.Founder[] memory list = founders(2);
        list[1].name = "";
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidText.selector, 0, 64));
        new Consortium(list, TWO_THIRDS, MOTION_SECONDS);
    }

    function test_256_sites_found_a_full_consortium() public {
        found(256);
        vm.assertEq(consortium.activeSeats(), type(uint256).max);
        vm.assertEq(consortium.seatOf(site(255)), 255);
        vm.assertEq(consortium.threshold(), 171);
        vm.prank(site(256));
        vm.expectRevert(IConsortium.ConsortiumSeatsExhausted.selector);
        consortium.requestMembership("one too many");
    }

    function test_257_founders_are_too_many() public {
        vm.expectRevert(IConsortium.ConsortiumSeatsExhausted.selector);
        new Consortium(founders(257), TWO_THIRDS, MOTION_SECONDS);
    }
}

contract ConsortiumMotionTest is Consortia {
    address private applicant = site(4);

    function setUp() public {
        found(4); // three votes carry a motion, two refusals close it
    }

    function request() private returns (uint256 motion) {
        vm.prank(applicant);
        motion = consortium.requestMembership("St. Elsewhere");
    }

    function cast(uint256 i, uint256 motion, bool approve) private {
        vm.prank(site(i));
        consortium.vote(motion, approve);
    }

    function notOpen(uint256 motion, IConsortium.MotionState state) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumMotionNotOpen.selector, motion, state);
    }

    function test_a_request_opens_a_motion() public {
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionOpened(
            1,
            IConsortium.MotionKind.Admit,
            applicant,
            applicant,
            "St. Elsewhere",
            uint64(block.timestamp) + MOTION_SECONDS
        );
        vm.assertEq(request(), 1);
    }

    function test_the_vote_that_reaches_the_threshold_admits() public {
        uint256 motion = request();
        cast(0, motion, true);
        cast(1, motion, false);
        cast(2, motion, true);
        vm.assertFalse(consortium.isMember(applicant));
        vm.expectEmit(address(consortium));
        emit IConsortium.VoteCast(motion, site(3), true);
        vm.expectEmit(address(consortium));
        emit IConsortium.SiteAdmitted(applicant, 4, "St. Elsewhere");
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionClosed(motion, IConsortium.MotionState.Passed);
        cast(3, motion, true);
        vm.assertEq(consortium.activeSeats(), 31);
    }

    function test_the_vote_that_makes_the_threshold_unreachable_rejects() public {
        uint256 motion = request();
        cast(0, motion, false);
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionClosed(motion, IConsortium.MotionState.Rejected);
        cast(1, motion, false);
        vm.assertFalse(consortium.isMember(applicant));
        vm.prank(site(2));
        vm.expectRevert(notOpen(motion, IConsortium.MotionState.Rejected));
        consortium.vote(motion, true);
    }

    function test_who_was_rejected_may_ask_again() public {
        uint256 motion = request();
        cast(0, motion, false);
        cast(1, motion, false);
        vm.assertEq(request(), motion + 1);
    }

    function test_only_members_vote() public {
        uint256 motion = request();
        vm.prank(applicant);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, applicant));
        consortium.vote(motion, true);
    }

    function test_nobody_votes_twice() public {
        uint256 motion = request();
        cast(0, motion, true);
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyVoted.selector, motion, site(0)));
        consortium.vote(motion, false);
    }

    function test_there_is_no_motion_0() public {
        vm.prank(site(0));
        vm.expectRevert(notOpen(0, IConsortium.MotionState.None));
        consortium.vote(0, true);
    }

    function test_members_dont_ask_for_membership() public {
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyMember.selector, site(0)));
        consortium.requestMembership("again");
    }

    function test_one_motion_about_one_subject() public {
        uint256 motion = request();
        vm.prank(applicant);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumMotionPending.selector, motion));
        consortium.requestMembership("St. Elsewhere");
    }

    function test_names_have_1_to_64_bytes() public {
        vm.prank(applicant);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidText.selector, 65, 64));
        consortium.requestMembership(string(new bytes(65)));
    }

    function test_votes_count_up_to_the_deadline_and_not_after() public {
        uint256 motion = request();
        uint64 deadline = uint64(block.timestamp) + MOTION_SECONDS;
        vm.warp(deadline);
        cast(0, motion, true);
        vm.warp(deadline + 1);
        vm.prank(site(1));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumMotionExpired.selector, motion, deadline));
        consortium.vote(motion, true);
    }

    function test_anybody_closes_a_motion_that_expired() public {
        uint256 motion = request();
        vm.warp(block.timestamp + MOTION_SECONDS + 1);
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionClosed(motion, IConsortium.MotionState.Rejected);
        consortium.closeMotion(motion);
        vm.expectRevert(notOpen(motion, IConsortium.MotionState.Rejected));
        consortium.closeMotion(motion);
    }

    function test_nobody_closes_a_motion_before() public {
        uint256 motion = request();
        uint64 deadline = uint64(block.timestamp) + MOTION_SECONDS;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumMotionNotExpired.selector, motion, deadline));
        consortium.closeMotion(motion);
    }

    function test_a_site_is_removed_by_vote() public {
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionOpened(
            1, IConsortium.MotionKind.Remove, site(3), site(0), "it lied", uint64(block.timestamp) + MOTION_SECONDS
        );
        vm.expectEmit(address(consortium));
        emit IConsortium.VoteCast(1, site(0), true);
        vm.prank(site(0));
        uint256 motion = consortium.proposeRemoval(site(3), "it lied");
        cast(1, motion, true);
        vm.expectEmit(address(consortium));
        emit IConsortium.SiteRemoved(site(3), 3, motion);
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionClosed(motion, IConsortium.MotionState.Passed);
        cast(2, motion, true);
        vm.assertFalse(consortium.isMember(site(3)));
        vm.assertEq(consortium.siteAt(3), site(3));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(3)));
        consortium.seatOf(site(3));
    }

    function test_only_members_propose_a_removal() public {
        vm.prank(applicant);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, applicant));
        consortium.proposeRemoval(site(0), "it lied");
    }

    function test_only_a_member_can_be_removed() public {
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, applicant));
        consortium.proposeRemoval(applicant, "it lied");
    }

    function test_a_removal_has_a_reason() public {
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidText.selector, 0, 512));
        consortium.proposeRemoval(site(1), "");
    }

    function test_votes_of_sites_that_left_count_no_more() public {
        uint256 motion = request();
        cast(0, motion, true);
        cast(1, motion, true);
        leave(1); // three members are left, of whom three must approve: one does
        cast(2, motion, true);
        vm.assertFalse(consortium.isMember(applicant));
        cast(3, motion, true);
        vm.assertTrue(consortium.isMember(applicant));
    }

    function test_a_motion_about_a_site_closes_when_it_leaves() public {
        vm.prank(site(0));
        uint256 motion = consortium.proposeRemoval(site(3), "it lied");
        vm.expectEmit(address(consortium));
        emit IConsortium.SiteLeft(site(3), 3);
        vm.expectEmit(address(consortium));
        emit IConsortium.MotionClosed(motion, IConsortium.MotionState.Rejected);
        leave(3);
        vm.prank(site(3));
        consortium.requestMembership("back again");
    }

    function test_who_comes_back_takes_its_seat_again() public {
        remove(1);
        vm.assertEq(consortium.activeSeats(), 13);
        admit(1);
        vm.assertEq(consortium.activeSeats(), 15);
        vm.assertEq(consortium.seatOf(site(1)), 1);
    }

    function test_a_seat_is_never_given_to_somebody_else() public {
        leave(3);
        admit(4);
        vm.assertEq(consortium.seatOf(site(4)), 4);
        vm.assertEq(consortium.siteAt(3), site(3));
    }

    function test_seats_may_run_out_between_request_and_vote() public {
        found(255);
        vm.prank(site(255));
        consortium.requestMembership("the last one");
        vm.prank(site(256));
        uint256 motion = consortium.requestMembership("one too many");
        for (uint256 i = 0; i < 170; ++i) {
            cast(i, motion - 1, true);
            cast(i, motion, true);
        }
        cast(170, motion - 1, true); // 171 of 255 carry the first, and would carry the second
        vm.assertTrue(consortium.isMember(site(255)));
        vm.prank(site(170));
        vm.expectRevert(IConsortium.ConsortiumSeatsExhausted.selector);
        consortium.vote(motion, true);
    }
}

contract ConsortiumMemberTest is Consortia {
    function setUp() public {
        found(2);
    }

    function test_a_member_leaves() public {
        vm.expectEmit(address(consortium));
        emit IConsortium.SiteLeft(site(1), 1);
        leave(1);
        vm.assertFalse(consortium.isMember(site(1)));
    }

    function test_only_members_leave() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(2)));
        leave(2);
    }

    function test_the_last_member_stays() public {
        leave(1);
        vm.prank(site(0));
        vm.expectRevert(IConsortium.ConsortiumLastMember.selector);
        consortium.leave();
        vm.prank(site(0));
        vm.expectRevert(IConsortium.ConsortiumLastMember.selector);
        consortium.proposeRemoval(site(0), "the end");
    }

    function test_a_member_publishes_addresses() public {
        string[] memory multiaddrs = new string[](2);
        multiaddrs[0] = "/ip4/10.0.0.1/tcp/4001";
        multiaddrs[1] = "/dns4/site.example/tcp/4001";
        vm.expectEmit(address(consortium));
        emit IConsortium.AddressesPublished(site(0), multiaddrs);
        vm.prank(site(0));
        consortium.publishAddresses(multiaddrs);
    }

    function test_only_members_publish_addresses() public {
        vm.prank(site(2));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotMember.selector, site(2)));
        consortium.publishAddresses(new string[](0));
    }

    function test_addresses_are_16_at_most() public {
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidAddresses.selector, 17, 16));
        consortium.publishAddresses(new string[](17));
    }

    function test_an_address_has_1_to_256_bytes() public {
        string[] memory multiaddrs = new string[](1);
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidText.selector, 0, 256));
        consortium.publishAddresses(multiaddrs);
        multiaddrs[0] = string(new bytes(257));
        vm.prank(site(0));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumInvalidText.selector, 257, 256));
        consortium.publishAddresses(multiaddrs);
    }

    function testFuzz_the_threshold_is_a_majority_that_can_be_reached(uint8 members, uint16 quorumBps) public {
        uint256 n = uint256(members) % 64 + 1;
        quorumBps = 5001 + (quorumBps % 5000);
        uint256 needed = new Consortium(founders(n), quorumBps, 1).threshold();
        vm.assertTrue(2 * needed > n);
        vm.assertLe(needed, n);
        vm.assertTrue(needed * 10000 >= n * quorumBps);
        vm.assertTrue((needed - 1) * 10000 < n * quorumBps);
    }
}
