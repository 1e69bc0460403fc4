// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./Bitmap.sol";
import {IConsortium} from "./IConsortium.sol";
import {IStudy} from "./IStudy.sol";

/// @title What is stored of a study, and the questions that every rule asks of it.
/// @notice A study takes a constant number of words, and a site two more in each study that it accepts; rounds reuse
///         them. Everything else that an auditor needs is in events.
abstract contract StudyState is IStudy {
    using Bitmap for uint256;

    /// @dev Where a study stands; one word.
    struct Cursor {
        Status status;
        Phase phase;
        uint16 round;
        uint16 attempt;
        uint16 term;
        uint8 leaderSeat;
        uint64 deadline; // of the proposal, the collection, the merge or the review, whichever is on
        uint64 sealableAt; // when a round that has minSites commits need wait no longer; else its deadline
        uint8 expired; // deadlines that expired in this round, up to 255
        uint16 collectPace; // what rounds took so far, see Pace; 0 before that was measured
        uint16 mergePace;
        uint16 reviewPace;
    }

    /// @dev One site in one study. `link` moves down the hash chain with each commit; nothing here is ever reset.
    struct Site {
        bytes32 link;
        uint64 epsilonSpent;
        uint16 fromRound;
        bool accepted;
    }

    /// @dev Invariant: attested, rejected, failed and (from seal to finality) nextCommitted are subsets of committed,
    ///      and committed is a subset of what was eligible. A withdrawal takes the site out of `participants` and
    ///      `eligible`, so that `eligible & activeSeats` is who counts now, in every set.
    struct Record {
        Cursor cursor;
        Terms terms;
        bytes32 specHash;
        uint256 answered; // accepted or declined
        uint256 participants; // accepted, and not withdrawn
        uint256 abortVotes;
        uint256 eligible;
        uint256 joinNext; // eligible from the round after this one
        uint256 joinAfter; // ... and from the round after that
        bytes32 seed;
        bytes32 lastFinal;
        // the round
        uint256 committed;
        bytes32 mix; // XOR of what its commits contribute to the seed
        uint256 failed; // seats whose terms ended without a final model, in this attempt
        // the commits for the next round that came with an attestation, until this one is final
        uint256 nextCommitted;
        bytes32 nextMix;
        // the term
        bytes32 output;
        uint256 merged;
        uint256 attested;
        uint256 rejected;
        mapping(address site => Site) sites;
    }

    /// @notice The consortium whose members run these studies.
    IConsortium public immutable consortium;
    /// @inheritdoc IStudy
    uint256 public studyCount;
    mapping(uint256 study => Record) internal _studies;

    constructor(IConsortium consortium_) {
        consortium = consortium_;
    }

    /// @dev The record of a study in a status that the call needs.
    function _in(uint256 study, Status status) internal view returns (Record storage s) {
        s = _studies[study];
        if (s.cursor.status != status) revert StudyWrongStatus(study, s.cursor.status);
    }

    /// @dev The record of a running study that is in this round.
    function _at(uint256 study, uint16 round) internal view returns (Record storage s) {
        s = _in(study, Status.Running);
        if (s.cursor.round != round) revert RoundWrongNumber(round, s.cursor.round);
    }

    /// @dev The record of a running study that is in this round and attempt, and collects.
    function _collecting(uint256 study, uint16 round, uint16 attempt) internal view returns (Record storage s) {
        s = _at(study, round);
        if (s.cursor.attempt != attempt) revert RoundWrongAttempt(attempt, s.cursor.attempt);
        if (s.cursor.phase != Phase.Collecting) revert RoundWrongPhase(study, s.cursor.phase);
    }

    /// @dev The record of a running study that is in this round and term, which has a leader.
    function _led(uint256 study, uint16 round, uint16 term) internal view returns (Record storage s) {
        s = _at(study, round);
        if (s.cursor.phase == Phase.Collecting) revert RoundWrongPhase(study, Phase.Collecting);
        if (s.cursor.term != term) revert RoundWrongTerm(term, s.cursor.term);
    }

    /// @dev The record of a running study in which the sender takes part, and the sender's seat.
    function _participating(uint256 study) internal view returns (Record storage s, uint8 seat) {
        s = _in(study, Status.Running);
        seat = consortium.seatOf(msg.sender);
        if (!s.participants.contains(seat)) revert StudyNotParticipant(study, msg.sender);
    }

    /// @dev The sites that take part in this round and are members now.
    function _active(Record storage s) internal view returns (uint256) {
        return s.eligible & consortium.activeSeats();
    }

    function _deadlineIn(uint32 period) internal view returns (uint64) {
        return uint64(block.timestamp) + period;
    }
}
