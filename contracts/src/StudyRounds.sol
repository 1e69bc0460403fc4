// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./Bitmap.sol";
import {Election} from "./Election.sol";
import {IStudy} from "./IStudy.sol";
import {Pace} from "./Pace.sol";
import {StudyState} from "./StudyState.sol";

/// @title The rules of a round.
/// @notice Lateness has no effect of its own: a commit counts until its round is sealed, a publication, attestation or
///         rejection until its term has ended. A round is sealed by the commit that completes it or, from `sealableAt`
///         on, by `seal`; a term ends by its outcome or, after its deadline has passed, by `rotate`. Anybody may call
///         these two.
///
///         The set of inputs is fixed when the round is sealed. A site that leaves before is not in it; one that
///         leaves after remains in it, since its update is on record and may be at the leader already, but it counts
///         no more in the quorum, and cannot lead.
///
///         How long a phase may last follows from how long it took before (Pace). It doesn't change while the phase is
///         on, so a phase began at its deadline less that: no word of storage holds when.
abstract contract StudyRounds is StudyState {
    using Bitmap for uint256;

    // -- collecting ----------------------------------------------------------------------------------------------

    /// @inheritdoc IStudy
    function commit(uint256 study, uint16 round, uint16 attempt, Commitment calldata commitment) external {
        Record storage s = _collecting(study, round, attempt);
        uint8 seat = consortium.seatOf(msg.sender);
        uint256 active = _active(s);
        if (!active.contains(seat)) revert RoundNotEligible(round, msg.sender);
        if (s.committed.contains(seat)) revert RoundAlreadyCommitted(round, msg.sender);
        s.mix ^= _spend(s, seat, commitment);
        s.committed |= Bitmap.bit(seat);
        emit UpdateCommitted(study, round, msg.sender, attempt, seat, commitment);
        _startGrace(s, active);
        _sealIfComplete(study, s, active);
    }

    /// @inheritdoc IStudy
    function seal(uint256 study, uint16 round, uint16 attempt) external {
        Record storage s = _collecting(study, round, attempt);
        uint256 active = _active(s);
        if ((s.committed & active).count() >= s.terms.minSites) {
            bool complete = active & ~s.committed == 0;
            if (!complete && block.timestamp < s.cursor.sealableAt) revert RoundNotSealable(s.cursor.sealableAt);
            _seal(study, s, active);
        } else {
            if (block.timestamp < s.cursor.deadline) revert RoundNotSealable(s.cursor.deadline);
            _expire(s);
            _setCollectDeadline(s);
            emit RoundExtended(study, round, attempt, s.committed, s.cursor.deadline);
        }
    }

    /// @dev Checks a commitment and books what it spends: one link of the site's hash chain, and privacy budget.
    /// @return What it contributes to the seed of its round.
    function _spend(Record storage s, uint8 seat, Commitment calldata c) private returns (bytes32) {
        Site storage site = s.sites[msg.sender];
        if (c.blob == 0) revert CommitInvalidBlob();
        if (c.weight == 0 || c.weight > s.terms.weightCap) revert CommitInvalidWeight(c.weight, s.terms.weightCap);
        if (c.epsilonSpent < site.epsilonSpent) revert CommitEpsilonDecreased(c.epsilonSpent, site.epsilonSpent);
        if (c.epsilonSpent > s.terms.epsilonBudget) {
            revert CommitEpsilonBudgetExceeded(c.epsilonSpent, s.terms.epsilonBudget);
        }
        if (keccak256(abi.encode(c.reveal)) != site.link) revert CommitStaleReveal(c.reveal, site.link);
        bytes32 actual = blockhash(c.seenBlock);
        if (actual == 0) revert CommitUnknownBlock(c.seenBlock);
        if (actual != c.seenHash) revert CommitOtherHistory(c.seenBlock, c.seenHash, actual);

        site.link = c.reveal;
        if (c.epsilonSpent != site.epsilonSpent) site.epsilonSpent = c.epsilonSpent;
        return Election.contribution(seat, c.reveal);
    }

    /// @dev From minSites commits on the round waits for the rest no longer than the grace time.
    function _startGrace(Record storage s, uint256 active) private {
        Cursor storage at = s.cursor;
        if (at.sealableAt != at.deadline || (s.committed & active).count() < s.terms.minSites) return;
        uint64 graceEnd = _deadlineIn(s.terms.graceSeconds);
        if (graceEnd < at.deadline) at.sealableAt = graceEnd;
    }

    function _sealIfComplete(uint256 study, Record storage s, uint256 active) private {
        if (active & ~s.committed == 0 && active.count() >= s.terms.minSites) _seal(study, s, active);
    }

    function _seal(uint256 study, Record storage s, uint256 active) private {
        uint16 round = s.cursor.round;
        uint16 attempt = s.cursor.attempt;
        uint256 committed = s.committed & active;
        if (round != 0) _measureCollection(s, committed == active);
        bytes32 seed = Election.next(s.seed, s.mix, round, attempt);
        s.committed = committed;
        s.seed = seed;
        s.mix = 0;
        emit RoundSealed(study, round, attempt, committed, seed);
        _elect(study, s, committed);
    }

    // -- merging -------------------------------------------------------------------------------------------------

    /// @inheritdoc IStudy
    function publish(uint256 study, uint16 round, uint16 term, bytes32 output, uint256 merged, bytes calldata reasons)
        external
    {
        Record storage s = _led(study, round, term);
        if (s.cursor.phase != Phase.Merging) revert RoundWrongPhase(study, s.cursor.phase);
        uint8 seat = s.cursor.leaderSeat;
        address leader = consortium.siteAt(seat);
        if (msg.sender != leader) revert PublishNotLeader(msg.sender, leader);
        if (!_active(s).contains(seat)) revert StudyNotParticipant(study, msg.sender);
        if (output == 0) revert PublishInvalidOutput();
        _checkMerged(s, merged, reasons.length);

        if (round != 0) _measureMerge(s);
        uint64 deadline = _deadlineIn(_reviewPeriod(s));
        s.cursor.phase = Phase.Reviewing;
        s.cursor.deadline = deadline;
        s.output = output;
        s.merged = merged;
        s.attested = Bitmap.bit(seat);
        emit ModelPublished(study, round, msg.sender, term, output, merged, reasons, deadline);
        _settle(study, s);
    }

    function _checkMerged(Record storage s, uint256 merged, uint256 reasons) private view {
        uint256 committed = s.committed;
        if (merged & ~committed != 0) revert PublishNotCommitted(merged, committed);
        if (merged.count() < s.terms.minSites) revert PublishTooFewMerged(merged.count(), s.terms.minSites);
        uint256 leftOut = (committed & ~merged).count();
        if (reasons != leftOut) revert PublishInvalidReasons(reasons, leftOut);
    }

    // -- reviewing -----------------------------------------------------------------------------------------------

    /// @inheritdoc IStudy
    function attest(uint256 study, uint16 round, uint16 term, bytes32 output) external {
        (Record storage s, uint8 seat) = _reviewing(study, round, term, output);
        _attest(study, s, seat);
        _settle(study, s);
    }

    /// @inheritdoc IStudy
    function attestAndCommit(uint256 study, uint16 round, uint16 term, bytes32 output, Commitment calldata next)
        external
    {
        (Record storage s, uint8 seat) = _reviewing(study, round, term, output);
        if (round == s.terms.rounds) revert RoundWrongNumber(round + 1, round);
        _attest(study, s, seat);
        s.nextMix ^= _spend(s, seat, next);
        s.nextCommitted |= Bitmap.bit(seat);
        emit UpdateCommitted(study, round + 1, msg.sender, 0, seat, next);
        _settle(study, s);
    }

    /// @inheritdoc IStudy
    function reject(uint256 study, uint16 round, uint16 term, bytes32 output, uint8 reason) external {
        (Record storage s, uint8 seat) = _reviewing(study, round, term, output);
        s.rejected |= Bitmap.bit(seat);
        emit OutputRejected(study, round, msg.sender, term, seat, output, reason);
        _settle(study, s);
    }

    /// @inheritdoc IStudy
    function rotate(uint256 study, uint16 round, uint16 term) external {
        Record storage s = _led(study, round, term);
        bool reviewing = s.cursor.phase == Phase.Reviewing;
        if (reviewing && _settle(study, s)) return;
        uint256 active = _active(s);
        if (!active.contains(s.cursor.leaderSeat)) {
            _endTerm(study, s, active, Fault.NotMember);
        } else {
            if (block.timestamp <= s.cursor.deadline) revert StudyTooEarly(s.cursor.deadline);
            _endTerm(study, s, active, reviewing ? Fault.ReviewTimeout : Fault.MergeTimeout);
        }
    }

    /// @dev The record of a study in this review, and the seat of the sender, who may still vote in it.
    function _reviewing(uint256 study, uint16 round, uint16 term, bytes32 output)
        private
        view
        returns (Record storage s, uint8 seat)
    {
        s = _led(study, round, term);
        if (s.cursor.phase != Phase.Reviewing) revert RoundWrongPhase(study, s.cursor.phase);
        seat = consortium.seatOf(msg.sender);
        if (!(s.committed & s.eligible).contains(seat)) revert ReviewNotCommitter(round, msg.sender);
        if ((s.attested | s.rejected).contains(seat)) revert ReviewAlreadyVoted(round, msg.sender);
        if (output != s.output) revert ReviewWrongOutput(output, s.output);
    }

    function _attest(uint256 study, Record storage s, uint8 seat) private {
        s.attested |= Bitmap.bit(seat);
        emit OutputAttested(study, s.cursor.round, msg.sender, s.cursor.term, seat, s.output);
    }

    /// @dev Ends the review where a quorum of the committers who are still active attested, or none can any more.
    ///      Where fewer than minSites of them are left nothing is final: a few who stayed would else be a quorum.
    function _settle(uint256 study, Record storage s) private returns (bool settled) {
        uint256 active = _active(s);
        uint256 voters = s.committed & active;
        uint256 left = voters.count();
        uint256 quorum = left.quorum(s.terms.quorumBps);
        uint256 attested = s.attested & voters;
        if (left >= s.terms.minSites && attested.count() >= quorum) {
            _finalise(study, s, attested);
        } else if (left != 0 && (voters & ~s.rejected).count() < quorum) {
            _endTerm(study, s, active, Fault.Rejected);
        } else {
            return false;
        }
        return true;
    }

    // -- from term to term, and from round to round --------------------------------------------------------------

    /// @dev Elects the leader of the cursor's term among candidates that are not empty.
    function _elect(uint256 study, Record storage s, uint256 candidates) private {
        Cursor storage at = s.cursor;
        uint16 term = at.term;
        uint8 seat = Election.leader(s.seed, term, candidates);
        uint64 deadline = _deadlineIn(_mergePeriod(s));
        at.leaderSeat = seat;
        at.phase = Phase.Merging;
        at.deadline = deadline;
        emit LeaderElected(study, at.round, consortium.siteAt(seat), term, seat, deadline);
    }

    /// @dev Puts the leader's fault on record and begins the next term or, where every committer has failed, the next
    ///      attempt.
    function _endTerm(uint256 study, Record storage s, uint256 active, Fault fault) private {
        Cursor storage at = s.cursor;
        emit LeaderFailed(study, at.round, consortium.siteAt(at.leaderSeat), at.term, fault);
        if (s.nextCommitted != 0) {
            emit CommitsVoided(study, at.round + 1, s.nextCommitted);
            s.nextCommitted = 0;
            s.nextMix = 0;
        }
        if (fault == Fault.MergeTimeout || fault == Fault.ReviewTimeout) _expire(s);
        _clearTerm(s);
        uint256 failed = s.failed | Bitmap.bit(at.leaderSeat);
        uint256 candidates = s.committed & active & ~failed;
        if (candidates != 0) {
            s.failed = failed;
            ++at.term;
            _elect(study, s, candidates);
        } else {
            s.failed = 0;
            s.committed = 0;
            at.term = 0;
            ++at.attempt;
            at.phase = Phase.Collecting;
            _setCollectDeadline(s);
            emit RoundRetried(study, at.round, at.attempt, at.deadline);
        }
    }

    function _finalise(uint256 study, Record storage s, uint256 attested) private {
        uint16 round = s.cursor.round;
        bytes32 output = s.output;
        s.lastFinal = output;
        emit RoundFinalised(study, round, s.cursor.term, output, s.merged, attested);
        if (round == s.terms.rounds) {
            _end(s, Status.Finished);
            emit StudyFinished(study, output);
            return;
        }
        if (round != 0) _measureReview(s);
        _clearTerm(s);
        s.failed = 0;
        s.committed = s.nextCommitted;
        s.mix = s.nextMix;
        s.nextCommitted = 0;
        s.nextMix = 0;
        _openRound(study, s, round + 1);
    }

    /// @dev Opens a round, with the commits that came in before; they may complete it.
    function _openRound(uint256 study, Record storage s, uint16 round) internal {
        Cursor storage at = s.cursor;
        s.eligible |= s.joinNext;
        s.joinNext = s.joinAfter;
        s.joinAfter = 0;
        at.round = round;
        at.attempt = 0;
        at.term = 0;
        at.expired = 0;
        at.phase = Phase.Collecting;
        _setCollectDeadline(s);
        uint256 active = _active(s);
        emit RoundOpened(study, round, 0, active, at.deadline);
        _startGrace(s, active);
        _sealIfComplete(study, s, active);
    }

    function _setCollectDeadline(Record storage s) private {
        uint64 deadline = _deadlineIn(_collectPeriod(s));
        s.cursor.deadline = deadline;
        s.cursor.sealableAt = deadline;
    }

    // -- how long a phase may last -------------------------------------------------------------------------------

    function _collectPeriod(Record storage s) private view returns (uint32) {
        Cursor storage at = s.cursor;
        uint256 collectPace = at.collectPace;
        uint256 reviewPace = at.reviewPace;
        uint256 pace = collectPace == 0 || reviewPace == 0 ? 0 : collectPace + reviewPace;
        return Pace.period(pace, at.expired, s.terms.leastSeconds, s.terms.collectSeconds);
    }

    function _mergePeriod(Record storage s) private view returns (uint32) {
        return Pace.period(s.cursor.mergePace, s.cursor.expired, s.terms.leastSeconds, s.terms.mergeSeconds);
    }

    function _reviewPeriod(Record storage s) private view returns (uint32) {
        return Pace.period(s.cursor.reviewPace, s.cursor.expired, s.terms.leastSeconds, s.terms.reviewSeconds);
    }

    /// @dev Says nothing of a collection that the agreed grace time ended, or the study's constant.
    function _measureCollection(Record storage s, bool complete) private {
        Cursor storage at = s.cursor;
        uint32 period = _collectPeriod(s);
        if (complete) {
            at.collectPace = Pace.learn(at.collectPace, _elapsed(at, period), period);
        } else if (at.sealableAt == at.deadline && period < s.terms.collectSeconds) {
            at.collectPace = Pace.lengthen(at.collectPace, period);
        }
    }

    function _measureMerge(Record storage s) private {
        Cursor storage at = s.cursor;
        uint32 period = _mergePeriod(s);
        at.mergePace = Pace.learn(at.mergePace, _elapsed(at, period), period);
    }

    function _measureReview(Record storage s) private {
        Cursor storage at = s.cursor;
        uint32 period = _reviewPeriod(s);
        at.reviewPace = Pace.learn(at.reviewPace, _elapsed(at, period), period);
    }

    /// @dev Seconds since the phase began that has this period.
    function _elapsed(Cursor storage at, uint32 period) private view returns (uint256) {
        return block.timestamp + period - at.deadline;
    }

    function _expire(Record storage s) private {
        if (s.cursor.expired != type(uint8).max) ++s.cursor.expired;
    }

    function _clearTerm(Record storage s) private {
        s.output = 0;
        s.merged = 0;
        s.attested = 0;
        s.rejected = 0;
    }

    /// @dev Ends a study; what its last round left is needed no more.
    function _end(Record storage s, Status status) internal {
        s.cursor.status = status;
        s.cursor.phase = Phase.Idle;
        _clearTerm(s);
        s.eligible = 0;
        s.joinNext = 0;
        s.joinAfter = 0;
        s.committed = 0;
        s.mix = 0;
        s.failed = 0;
        s.nextCommitted = 0;
        s.nextMix = 0;
    }
}
