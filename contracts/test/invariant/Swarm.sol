// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "../../src/Bitmap.sol";
import {IStudy} from "../../src/IStudy.sol";
import {Studies} from "../support/Studies.sol";
import {vm} from "../support/Vm.sol";
import {Auditor} from "./Auditor.sol";

/// @title Sites that keep to the protocol, sites that do not, and time; an auditor watches them all.
/// @notice What an honest site does must succeed, and what a liar does must be refused, in every state that any
///         sequence of these calls can reach. A study that ended is followed by the next.
contract Swarm is Studies, Auditor {
    using Bitmap for uint256;

    uint256 private constant FOUNDERS = 5;
    uint256 private constant SITES = 7;
    uint256 private constant QUORUM_BPS = 6600;

    uint256 private seated = FOUNDERS;

    constructor() {
        vm.recordLogs();
        found(FOUNDERS);
        audit(vm.getRecordedLogs());
        deployStudy();
        begin();
    }

    /// @dev Runs an action and has the auditor look at what came of it.
    modifier audited() {
        if (over) begin();
        vm.recordLogs();
        _;
        audit(vm.getRecordedLogs());
        vm.roll(block.number + 1);
    }

    // -- what the fuzzer calls -----------------------------------------------------------------------------------

    /// @notice Some sites, one after the other, do what the protocol asks of them next.
    function honest(uint256 from, uint256 many) external audited {
        many = 1 + (many % 4);
        for (uint256 i = 0; i < many && view_().status == IStudy.Status.Running; ++i) {
            keepTo((from % SITES + i) % SITES);
        }
    }

    /// @notice A committer objects to what was published, or walks out over it.
    function object(uint256 from, uint256 kind) external audited {
        if (view_().phase != IStudy.Phase.Reviewing) return;
        (bool any, uint256 i) = pick(voters() & ~view_().attested & ~view_().rejected, from);
        if (!any) return;
        if (kind % 2 == 0) reject(i);
        else if (members.count() > 3) leave(i);
    }

    /// @notice A site says, or repeats, what is not so.
    function lie(uint256 from, uint256 kind) external audited {
        uint256 i = from % SITES;
        bytes memory call_ = falsehood(i, kind % 24);
        if (call_.length == 0) return;
        vm.prank(site(i));
        (bool believed,) = address(study).call(call_);
        vm.assertFalse(believed);
        vm.getRecordedLogs(); // forge records the events of reverted calls, too
        ++seen["lies"];
    }

    /// @notice Time passes; mostly less than any deadline.
    function wait(uint256 time) external audited {
        vm.warp(block.timestamp + time % (time % 4 == 0 ? 700 : 30));
    }

    /// @notice Somebody pushes a round on whose waiting is over.
    function push() external audited {
        IStudy.View memory at = view_();
        if (at.phase == IStudy.Phase.Collecting) {
            pushCollection(at);
        } else if (decided(at)) {
            rotate();
            ++seen["decided by departure"];
        } else if (block.timestamp > at.deadline || !at.eligible.contains(at.leaderSeat)) {
            rotate();
        }
    }

    /// @notice Sites leave the consortium, are removed, and come (back) in.
    function change(uint256 from, uint256 kind) external audited {
        uint256 i = from % SITES;
        if (!consortium.isMember(site(i))) enter(i);
        else if (kind % 8 == 0 && members.count() > 3) remove(i);
        else if (kind % 8 == 1 && members.count() > 3) leave(i);
        else join(i);
    }

    /// @notice A site withdraws, or votes to abort; seldom, so that most studies go on.
    function despair(uint256 from, uint256 kind) external audited {
        uint256 i = from % SITES;
        if (kind % 16 > 1 || !participates(i)) return;
        if (kind % 16 == 0) {
            withdraw(i);
        } else {
            vm.prank(site(i));
            try study.voteAbort(id) {} catch {} // it may have voted
        }
    }

    // -- honest sites --------------------------------------------------------------------------------------------

    function begin() private {
        IStudy.Terms memory terms = defaultTerms();
        terms.statistics = true;
        terms.minSites = 2;
        terms.leastSeconds = 20;
        resetAuditor(terms);
        uint256 proposer;
        while (!consortium.isMember(site(proposer))) ++proposer;
        vm.recordLogs();
        vm.prank(site(proposer));
        id = study.propose(SPEC, terms);
        for (uint256 i = 0; i < SITES; ++i) {
            revealed[study][i] = 0; // a study is another's random numbers away, so chains may be used again
            if (consortium.isMember(site(i))) accept(i);
        }
        audit(vm.getRecordedLogs());
    }

    function keepTo(uint256 i) private {
        IStudy.View memory at = view_();
        uint8 seat = uint8(i);
        if (!at.eligible.contains(seat) || revealed[study][i] + 2 > CHAIN_LENGTH) return;
        if (at.phase == IStudy.Phase.Collecting) {
            if (!at.committed.contains(seat)) commit(i);
        } else if (at.phase == IStudy.Phase.Merging) {
            if (at.leaderSeat == i) merge(at);
        } else if (at.committed.contains(seat) && !(at.attested | at.rejected).contains(seat)) {
            if (at.round < 3 && uint256(at.seed) % 2 == 0) attestAndCommit(i);
            else attest(i);
        }
    }

    /// @dev Publishes, now and then without an input that could not be had.
    function merge(IStudy.View memory at) private {
        uint256 inputs = at.committed;
        bytes memory reasons;
        if (uint256(at.seed) % 3 == 0 && inputs.count() > agreed.minSites) {
            inputs &= inputs - 1;
            reasons = hex"01";
        }
        vm.prank(site(at.leaderSeat));
        study.publish(id, at.round, at.term, keccak256(abi.encode(at.seed, at.term)), inputs, reasons);
    }

    /// @dev Who never was a member comes in by the order of seats, so that site i holds seat i.
    function enter(uint256 i) private {
        admit(i < seated ? i : seated++);
    }

    function join(uint256 i) private {
        (,, bool already,) = study.siteState(id, site(i));
        IStudy.View memory at = view_();
        if (already || at.round + (at.phase == IStudy.Phase.Reviewing ? 2 : 1) > 3) return;
        accept(i);
        ++seen["joined"];
    }

    function pushCollection(IStudy.View memory at) private {
        uint256 have = at.committed & at.eligible;
        if (have.count() < agreed.minSites) {
            if (block.timestamp >= at.deadline) sealRound();
        } else if (block.timestamp >= at.sealableAt || have == at.eligible) {
            sealRound();
        }
    }

    /// @dev Whether somebody's departure has left a quorum of attestations, or too few who could make one.
    function decided(IStudy.View memory at) private view returns (bool) {
        uint256 able = at.committed & at.eligible;
        uint256 quorum = able.count().quorum(QUORUM_BPS);
        if (at.phase != IStudy.Phase.Reviewing || able == 0) return false;
        bool attested = able.count() >= agreed.minSites && (able & at.attested).count() >= quorum;
        return attested || (able & ~at.rejected).count() < quorum;
    }

    // -- liars ---------------------------------------------------------------------------------------------------

    /// @dev A call that site i may not make now; empty where this kind of lie would be none.
    function falsehood(uint256 i, uint256 kind) private view returns (bytes memory) {
        IStudy.View memory at = view_();
        if (at.phase == IStudy.Phase.Collecting) return falseCommit(i, at, kind);
        if (at.phase == IStudy.Phase.Merging) return falsePublication(i, at, kind);
        return falseReview(i, at, kind);
    }

    function falseCommit(uint256 i, IStudy.View memory at, uint256 kind) private view returns (bytes memory) {
        IStudy.Commitment memory c = commitment(i);
        uint16 round = at.round;
        uint16 attempt = at.attempt;
        (bytes32 link, uint64 spent,,) = study.siteState(id, site(i));
        if (kind == 0) c.reveal = link; // the one before
        else if (kind == 1) c.reveal = keccak256("no preimage");
        else if (kind == 2) c.epsilonSpent = agreed.epsilonBudget + 1;
        else if (kind == 3 && spent != 0) c.epsilonSpent = spent - 1;
        else if (kind == 4) c.seenHash = keccak256("another history");
        else if (kind == 5) c.seenBlock = uint64(block.number);
        else if (kind == 6) c.weight = 0;
        else if (kind == 7) c.weight = agreed.weightCap + 1;
        else if (kind == 8) c.blob = 0;
        else if (kind == 9) ++round;
        else if (kind == 10 && round != 0) --round;
        else if (kind == 11) ++attempt;
        else if (kind == 12 && attempt != 0) --attempt;
        else if (kind == 13) return falseSeal(at);
        else if (kind == 14) return abi.encodeCall(study.rotate, (id, round, at.term));
        else if (kind == 15) return abi.encodeCall(study.publish, (id, round, at.term, OUTPUT, at.committed, ""));
        else if (kind == 16) return abi.encodeCall(study.attest, (id, round, at.term, OUTPUT));
        else if (kind == 17) return abi.encodeCall(study.start, (id));
        else if (at.eligible.contains(uint8(i)) && !at.committed.contains(uint8(i))) return ""; // it would be true
        return abi.encodeCall(study.commit, (id, round, attempt, c));
    }

    function falseSeal(IStudy.View memory at) private view returns (bytes memory) {
        uint256 have = at.committed & at.eligible;
        bool enough = have.count() >= agreed.minSites;
        if (enough && (have == at.eligible || block.timestamp >= at.sealableAt)) return "";
        if (!enough && block.timestamp >= at.deadline) return "";
        return abi.encodeCall(study.seal, (id, at.round, at.attempt));
    }

    function falsePublication(uint256 i, IStudy.View memory at, uint256 kind) private view returns (bytes memory) {
        uint16 round = at.round;
        uint16 term = at.term;
        bytes32 output = OUTPUT;
        uint256 inputs = at.committed;
        bytes memory reasons;
        if (kind == 0) output = 0;
        else if (kind == 1) inputs |= 1 << 7;
        else if (kind == 2) (inputs, reasons) = (inputs & (~inputs + 1), new bytes(inputs.count() - 1));
        else if (kind == 3) reasons = hex"01";
        else if (kind == 4) ++round;
        else if (kind == 5) ++term;
        else if (kind == 6 && term != 0) --term;
        else if (kind == 7) return abi.encodeCall(study.commit, (id, round, at.attempt, commitment(i)));
        else if (kind == 8) return abi.encodeCall(study.attest, (id, round, term, OUTPUT));
        else if (kind == 9) return abi.encodeCall(study.reject, (id, round, term, OUTPUT, 1));
        else if (kind == 10) return falseRotation(at);
        else if (kind == 11) return abi.encodeCall(study.seal, (id, round, at.attempt));
        else if (i == at.leaderSeat && at.eligible.contains(uint8(i))) return "";
        return abi.encodeCall(study.publish, (id, round, term, output, inputs, reasons));
    }

    function falseReview(uint256 i, IStudy.View memory at, uint256 kind) private view returns (bytes memory) {
        uint16 term = at.term;
        bytes32 output = at.output;
        bool mayVote = voters().contains(uint8(i)) && !(at.attested | at.rejected).contains(uint8(i));
        if (kind == 0) output = OUTPUT;
        else if (kind == 1) ++term;
        else if (kind == 2 && term != 0) --term;
        else if (kind == 3) return abi.encodeCall(study.publish, (id, at.round, term, OUTPUT, at.committed, ""));
        else if (kind == 4) return abi.encodeCall(study.commit, (id, at.round, at.attempt, commitment(i)));
        else if (kind == 5) return abi.encodeCall(study.commit, (id, at.round + 1, 0, commitment(i)));
        else if (kind == 6) return abi.encodeCall(study.seal, (id, at.round, at.attempt));
        else if (kind == 7) return falseRotation(at);
        else if (kind == 8) return falsePair(i, at);
        else if (mayVote) return "";
        if (kind % 3 == 0) return abi.encodeCall(study.reject, (id, at.round, term, output, 1));
        if (kind % 3 == 1) return abi.encodeCall(study.attest, (id, at.round, term, output));
        return abi.encodeCall(study.attestAndCommit, (id, at.round, term, output, commitment(i)));
    }

    /// @dev An attestation with a commit that reveals nothing new, or to a round that will not be.
    function falsePair(uint256 i, IStudy.View memory at) private view returns (bytes memory) {
        IStudy.Commitment memory c = commitment(i);
        if (at.round != agreed.rounds) (c.reveal,,,) = study.siteState(id, site(i));
        return abi.encodeCall(study.attestAndCommit, (id, at.round, at.term, at.output, c));
    }

    function falseRotation(IStudy.View memory at) private view returns (bytes memory) {
        if (block.timestamp > at.deadline || !at.eligible.contains(at.leaderSeat)) return "";
        if (decided(at)) return "";
        return abi.encodeCall(study.rotate, (id, at.round, at.term));
    }

    // -- what is seen --------------------------------------------------------------------------------------------

    function voters() private view returns (uint256) {
        IStudy.View memory at = view_();
        return at.committed & at.eligible;
    }

    function participates(uint256 i) private view returns (bool) {
        return (accepted & members & ~withdrawn).contains(uint8(i));
    }

    function pick(uint256 set, uint256 random) private pure returns (bool any, uint256 i) {
        if (set == 0) return (false, 0);
        return (true, set.select(random % set.count()));
    }

    /// @notice Compare what the contracts hold with what the auditor read from their events.
    function checkViews() external view {
        IStudy.View memory at = view_();
        vm.assertEq(consortium.activeSeats(), members);
        vm.assertEq(at.status != IStudy.Status.Running, over);
        if (over) {
            vm.assertEq(at.eligible | at.committed | at.attested | at.rejected | at.nextCommitted, 0);
            return;
        }
        vm.assertEq(at.round, atRound);
        vm.assertEq(at.attempt, atAttempt);
        vm.assertEq(at.term, atTerm);
        vm.assertEq(at.eligible, active());
        vm.assertEq(at.committed, committed);
        vm.assertEq(at.attested, attested);
        vm.assertEq(at.rejected, rejected);
        vm.assertEq(at.nextCommitted, waiting);
        vm.assertEq(at.seed, seed);
        vm.assertEq(at.output, published);
        vm.assertEq(at.deadline, deadline);
        if (at.phase == IStudy.Phase.Collecting) vm.assertEq(at.sealableAt, graceEnd);
        if (atRound != 0) vm.assertEq(at.lastFinal, finals[atRound - 1]);
    }

    /// @notice Check what must hold of the sets of sites in every state.
    function checkSets() external view {
        IStudy.View memory at = view_();
        vm.assertEq(at.eligible & ~consortium.activeSeats(), 0);
        vm.assertEq((at.committed | at.eligible) & ~accepted, 0);
        vm.assertEq((at.attested | at.rejected) & ~at.committed, 0);
        vm.assertEq(at.attested & at.rejected, 0);
        vm.assertEq(at.nextCommitted & ~at.attested, 0);
        vm.assertTrue((at.output != 0) == (at.phase == IStudy.Phase.Reviewing), "an output out of review");
    }

    /// @notice Check that whoever leads committed to the round and has not failed in it.
    function checkLeader() external view {
        IStudy.View memory at = view_();
        if (at.phase != IStudy.Phase.Merging && at.phase != IStudy.Phase.Reviewing) return;
        vm.assertTrue(at.committed.contains(at.leaderSeat), "leader did not commit");
        vm.assertFalse(failed.contains(at.leaderSeat));
        vm.assertEq(at.leaderSeat, leads);
    }

    /// @notice Check what each site has spent, and that its chain is where it was last seen.
    function checkSites() external view {
        for (uint256 i = 0; i < SITES; ++i) {
            (bytes32 link, uint64 epsilon, bool answered,) = study.siteState(id, site(i));
            if (!answered) continue;
            vm.assertEq(link, lastLink[site(i)]);
            vm.assertEq(epsilon, spent[site(i)]);
            vm.assertLe(epsilon, agreed.epsilonBudget);
        }
    }

    function timesSeen(string calldata what) external view returns (uint256) {
        return seen[what];
    }
}
