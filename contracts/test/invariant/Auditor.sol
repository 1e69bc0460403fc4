// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "../../src/Bitmap.sol";
import {Election} from "../../src/Election.sol";
import {IConsortium} from "../../src/IConsortium.sol";
import {IStudy} from "../../src/IStudy.sol";
import {vm, Vm} from "../support/Vm.sol";

/// @title An auditor that trusts nobody: it reads events only, and checks that each follows from those before it.
/// @notice What it holds is a second, plainer account of the rules; where it and the contracts disagree, a check fails.
abstract contract Auditor {
    using Bitmap for uint256;

    // members
    uint256 internal members;

    // the study
    bytes32 internal seed;
    IStudy.Terms internal agreed;
    uint256 internal withdrawn;
    bool internal over;
    mapping(address site => bytes32) internal lastLink;
    mapping(address site => uint64) internal spent;
    mapping(uint8 seat => uint16) internal joinedFor;
    uint256 internal accepted;

    // the round
    uint16 internal atRound;
    uint16 internal atAttempt;
    uint256 internal committed;
    bytes32 internal mix;
    bool internal sealedUp;
    uint256 internal failed;
    uint256 internal waiting;
    bytes32 internal waitingMix;
    mapping(uint16 round => bytes32) internal finals;
    uint256 internal finalised;

    // its times; `begun` and `allowed` are the present phase's
    uint256 internal begun;
    uint256 internal allowed;
    uint256 internal graceEnd;
    uint256 internal expired;
    uint256 internal collectPace;
    uint256 internal mergePace;
    uint256 internal reviewPace;

    // the term
    uint16 internal atTerm;
    uint8 internal leads;
    uint64 internal deadline;
    bytes32 internal published;
    uint256 internal merged;
    uint256 internal attested;
    uint256 internal rejected;

    // what was played, for the summary
    mapping(string name => uint256) internal seen;

    /// @dev Forgets the last study; the members stay what they are.
    function resetAuditor(IStudy.Terms memory terms) internal {
        agreed = terms;
        withdrawn = accepted = committed = failed = waiting = merged = attested = rejected = 0;
        mix = waitingMix = published = seed = 0;
        for (uint16 round = 0; round <= terms.rounds; ++round) {
            finals[round] = 0;
        }
        finalised = 0;
        over = sealedUp = false;
        collectPace = mergePace = reviewPace = 0;
    }

    function active() internal view returns (uint256 set) {
        for (uint8 seat = 0; seat < 8; ++seat) {
            if (accepted.contains(seat) && joinedFor[seat] <= atRound) set |= Bitmap.bit(seat);
        }
        return set & members & ~withdrawn;
    }

    function audit(Vm.Log[] memory logs) internal {
        for (uint256 i = 0; i < logs.length; ++i) {
            auditMembers(logs[i]);
            auditLife(logs[i]);
            auditCollection(logs[i]);
            auditTerm(logs[i]);
        }
    }

    function auditMembers(Vm.Log memory log) private {
        bytes32 topic = log.topics[0];
        if (topic == IConsortium.SiteAdmitted.selector) {
            (uint8 seat,) = abi.decode(log.data, (uint8, string));
            members |= Bitmap.bit(seat);
        } else if (topic == IConsortium.SiteLeft.selector || topic == IConsortium.SiteRemoved.selector) {
            members &= ~Bitmap.bit(abi.decode(log.data, (uint8)));
            vm.assertTrue(members != 0, "a consortium without members");
        }
    }

    function auditLife(Vm.Log memory log) private {
        bytes32 topic = log.topics[0];
        if (topic == IStudy.StudyAccepted.selector) {
            (uint8 seat,, bytes32 tip, uint16 fromRound) = abi.decode(log.data, (uint8, bytes32, bytes32, uint16));
            vm.assertFalse(accepted.contains(seat));
            accepted |= Bitmap.bit(seat);
            joinedFor[seat] = fromRound;
            lastLink[toAddress(log.topics[2])] = tip;
            spent[toAddress(log.topics[2])] = 0;
        } else if (topic == IStudy.SiteWithdrew.selector) {
            withdrawn |= Bitmap.bit(abi.decode(log.data, (uint8)));
        } else if (topic == IStudy.StudyStarted.selector) {
            (, seed) = abi.decode(log.data, (uint256, bytes32));
        } else if (topic == IStudy.StudyFinished.selector) {
            vm.assertEq(finalised, agreed.rounds + (agreed.statistics ? 1 : 0), "finished before its last round");
            over = true;
            ++seen["finished"];
        } else if (topic == IStudy.StudyAborted.selector) {
            over = true;
            ++seen["aborted"];
        }
    }

    function auditCollection(Vm.Log memory log) private {
        bytes32 topic = log.topics[0];
        if (topic == IStudy.RoundOpened.selector) {
            uint16 round = toNumber(log.topics[2]);
            vm.assertEq(round, finalised + (agreed.statistics ? 0 : 1), "a round that was skipped or repeated");
            (, uint256 eligible, uint64 until) = abi.decode(log.data, (uint16, uint256, uint64));
            (atRound, atAttempt, atTerm, deadline) = (round, 0, 0, until);
            (committed, mix, waiting, waitingMix) = (waiting, waitingMix, 0, 0);
            (sealedUp, failed, expired) = (false, 0, 0);
            vm.assertEq(eligible, active(), "eligible");
            collectionBegins();
        } else if (topic == IStudy.UpdateCommitted.selector) {
            auditCommit(log);
        } else if (topic == IStudy.RoundExtended.selector) {
            vm.assertTrue((committed & active()).count() < agreed.minSites, "extended with enough commits");
            vm.assertTrue(block.timestamp >= deadline, "extended before the deadline");
            (,, deadline) = abi.decode(log.data, (uint16, uint256, uint64));
            ++expired;
            collectionBegins();
            ++seen["extended"];
        } else if (topic == IStudy.RoundSealed.selector) {
            vm.assertFalse(sealedUp);
            (uint16 attempt, uint256 inputs, bytes32 next) = abi.decode(log.data, (uint16, uint256, bytes32));
            vm.assertEq(inputs, committed & active(), "sealed another set than was committed");
            vm.assertTrue(inputs.count() >= agreed.minSites, "sealed with too few");
            vm.assertEq(next, Election.next(seed, mix, atRound, attempt));
            collectionEnds(inputs == active());
            (committed, sealedUp, seed, mix) = (inputs, true, next, 0);
        } else if (topic == IStudy.RoundRetried.selector) {
            vm.assertEq(committed & active() & ~failed, 0, "retried with a candidate left");
            (uint16 attempt, uint64 until) = abi.decode(log.data, (uint16, uint64));
            vm.assertEq(attempt, atAttempt + 1);
            (atAttempt, atTerm, deadline) = (attempt, 0, until);
            (committed, failed, sealedUp) = (0, 0, false);
            collectionBegins();
            ++seen["retried"];
        } else if (topic == IStudy.CommitsVoided.selector) {
            vm.assertEq(abi.decode(log.data, (uint256)), waiting);
            (waiting, waitingMix) = (0, 0);
            ++seen["voided"];
        }
    }

    function auditCommit(Vm.Log memory log) private {
        address sender = toAddress(log.topics[3]);
        (uint16 attempt, uint8 seat, IStudy.Commitment memory c) =
            abi.decode(log.data, (uint16, uint8, IStudy.Commitment));
        vm.assertEq(keccak256(abi.encode(c.reveal)), lastLink[sender]);
        vm.assertTrue(c.epsilonSpent >= spent[sender], "epsilon decreased");
        vm.assertTrue(c.epsilonSpent <= agreed.epsilonBudget, "epsilon over budget");
        vm.assertTrue(c.weight != 0 && c.weight <= agreed.weightCap, "weight");
        vm.assertEq(c.seenHash, blockhash(c.seenBlock));
        (lastLink[sender], spent[sender]) = (c.reveal, c.epsilonSpent);
        bytes32 contribution = Election.contribution(seat, c.reveal);
        if (toNumber(log.topics[2]) == atRound) {
            vm.assertEq(attempt, atAttempt);
            vm.assertFalse(sealedUp);
            vm.assertFalse(committed.contains(seat));
            vm.assertTrue(active().contains(seat), "commit of a site that takes no part");
            committed |= Bitmap.bit(seat);
            mix ^= contribution;
            graceBegins();
        } else {
            vm.assertEq(toNumber(log.topics[2]), atRound + 1);
            vm.assertFalse(waiting.contains(seat));
            vm.assertTrue(attested.contains(seat), "commit to a next round on an output that was not attested");
            waiting |= Bitmap.bit(seat);
            waitingMix ^= contribution;
        }
        ++seen["committed"];
    }

    function auditTerm(Vm.Log memory log) private {
        bytes32 topic = log.topics[0];
        if (topic == IStudy.LeaderElected.selector) {
            (uint16 term, uint8 seat, uint64 until) = abi.decode(log.data, (uint16, uint8, uint64));
            uint256 candidates = committed & active() & ~failed;
            vm.assertTrue(sealedUp && candidates.contains(seat), "a leader that is no candidate");
            vm.assertEq(seat, Election.leader(seed, term, candidates));
            vm.assertEq(term, failed.count());
            (atTerm, leads, deadline) = (term, seat, until);
            (published, merged, attested, rejected) = (0, 0, 0, 0);
            phaseBegins(mergePace, agreed.mergeSeconds);
        } else if (topic == IStudy.ModelPublished.selector) {
            bytes memory reasons;
            (, published, merged, reasons, deadline) = abi.decode(log.data, (uint16, bytes32, uint256, bytes, uint64));
            vm.assertEq(merged & ~committed, 0, "merged what was not committed");
            vm.assertTrue(merged.count() >= agreed.minSites, "merged too few");
            vm.assertEq((committed & ~merged).count(), reasons.length);
            attested = Bitmap.bit(leads);
            if (atRound != 0) mergePace = learned(mergePace);
            phaseBegins(reviewPace, agreed.reviewSeconds);
        } else if (topic == IStudy.OutputAttested.selector) {
            (, uint8 seat, bytes32 output) = abi.decode(log.data, (uint16, uint8, bytes32));
            voted(seat, output);
            attested |= Bitmap.bit(seat);
        } else if (topic == IStudy.OutputRejected.selector) {
            (, uint8 seat, bytes32 output,) = abi.decode(log.data, (uint16, uint8, bytes32, uint8));
            voted(seat, output);
            rejected |= Bitmap.bit(seat);
        } else if (topic == IStudy.LeaderFailed.selector) {
            auditFault(log);
        } else if (topic == IStudy.RoundFinalised.selector) {
            auditFinality(log);
        }
    }

    function voted(uint8 seat, bytes32 output) private view {
        vm.assertTrue(output != 0 && output == published, "a vote on what was not published");
        vm.assertTrue((committed & active()).contains(seat), "a vote of a site that has none");
        vm.assertFalse((attested | rejected).contains(seat));
    }

    function auditFault(Vm.Log memory log) private {
        (uint16 term, IStudy.Fault fault) = abi.decode(log.data, (uint16, IStudy.Fault));
        vm.assertEq(term, atTerm);
        if (fault == IStudy.Fault.NotMember) {
            vm.assertFalse(active().contains(leads));
            ++seen["leader left"];
        } else if (fault == IStudy.Fault.Rejected) {
            uint256 voters = committed & active();
            vm.assertTrue((voters & ~rejected).count() < voters.count().quorum(agreed.quorumBps), "not rejected");
            ++seen["leader rejected"];
        } else {
            vm.assertTrue(block.timestamp > deadline, "a fault before the deadline");
            vm.assertEq(fault == IStudy.Fault.ReviewTimeout, published != 0);
            ++expired;
            ++seen["leader late"];
        }
        failed |= Bitmap.bit(leads);
        (published, merged, attested, rejected) = (0, 0, 0, 0);
    }

    function auditFinality(Vm.Log memory log) private {
        uint16 round = toNumber(log.topics[2]);
        (uint16 term, bytes32 output, uint256 inputs, uint256 quorum) =
            abi.decode(log.data, (uint16, bytes32, uint256, uint256));
        vm.assertEq(round, atRound);
        vm.assertEq(term, atTerm);
        vm.assertEq(finals[round], 0); // one final output a round
        vm.assertTrue(output != 0 && output == published, "final without publication");
        vm.assertEq(inputs, merged);
        uint256 voters = committed & active();
        vm.assertEq(quorum, attested & voters);
        vm.assertTrue(quorum.count() * 10000 >= voters.count() * agreed.quorumBps, "final without a quorum");
        vm.assertTrue(quorum != 0, "final by nobody");
        vm.assertTrue(voters.count() >= agreed.minSites, "final by too few");
        finals[round] = output;
        ++finalised;
        if (round != 0) reviewPace = learned(reviewPace);
        (published, merged, attested, rejected) = (0, 0, 0, 0);
        ++seen["finalised"];
    }

    // -- how long phases may last, from the times of the blocks in which they began and ended --------------------------

    function phaseBegins(uint256 pace, uint256 most) private {
        begun = block.timestamp;
        allowed = most;
        if (pace != 0 && pace < 65535) {
            uint256 length = pace > agreed.leastSeconds ? pace : agreed.leastSeconds;
            for (uint256 i = 0; i < expired && length < most; ++i) {
                length *= 2;
            }
            if (length < most) {
                allowed = length;
                ++seen["measured deadline"];
            }
        }
        vm.assertEq(deadline, begun + allowed, "a deadline that doesn't follow from the rounds before");
    }

    function collectionBegins() private {
        bool measured = collectPace != 0 && reviewPace != 0;
        phaseBegins(measured ? collectPace + reviewPace : 0, agreed.collectSeconds);
        graceEnd = deadline;
        graceBegins();
    }

    function graceBegins() private {
        if (graceEnd != deadline || (committed & active()).count() < agreed.minSites) return;
        uint256 end = block.timestamp + agreed.graceSeconds;
        if (end < deadline) graceEnd = end;
    }

    function collectionEnds(bool complete) private {
        if (atRound == 0) return;
        if (complete) {
            collectPace = learned(collectPace);
        } else if (graceEnd == deadline && allowed < agreed.collectSeconds) {
            uint256 longer = 2 * allowed > 65535 ? 65535 : 2 * allowed;
            if (longer > collectPace) collectPace = longer;
            ++seen["collection cut off"];
        }
    }

    /// @dev The pace after a phase that ends now.
    function learned(uint256 pace) private view returns (uint256) {
        uint256 took = block.timestamp - begun;
        uint256 sample = 4 * (took < allowed ? took : allowed) + 4;
        if (sample > 65535) sample = 65535;
        if (sample >= pace) return sample;
        uint256 fall = (pace - sample) / 16;
        return pace - (fall * 16 == pace - sample ? fall : fall + 1);
    }

    function toAddress(bytes32 topic) private pure returns (address) {
        return address(uint160(uint256(topic)));
    }

    function toNumber(bytes32 topic) private pure returns (uint16) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint16(uint256(topic));
    }
}
