// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./Bitmap.sol";
import {Election} from "./Election.sol";
import {IConsortium} from "./IConsortium.sol";
import {IStudy} from "./IStudy.sol";
import {StudyRounds} from "./StudyRounds.sol";

/// @title How a study comes to run, and how it ends before its time.
/// @notice Members answer a proposal up to and including its deadline. It starts once every member has answered or the
///         deadline has passed, where at least minSites accepted; where fewer did, it lapses after the deadline.
abstract contract StudyLifecycle is StudyRounds {
    using Bitmap for uint256;

    uint256 private constant MAX_SPECIFICATION = 65536;
    uint16 private constant MAX_ROUNDS = 65534;

    /// @inheritdoc IStudy
    function propose(bytes calldata spec, Terms calldata terms) external returns (uint256 study) {
        if (!consortium.isMember(msg.sender)) revert IConsortium.ConsortiumNotMember(msg.sender);
        if (spec.length == 0 || spec.length > MAX_SPECIFICATION) {
            revert StudyInvalidSpecification(spec.length, MAX_SPECIFICATION);
        }
        _checkTerms(terms);
        study = ++studyCount;
        Record storage s = _studies[study];
        bytes32 specHash = sha256(spec);
        uint64 deadline = _deadlineIn(terms.acceptSeconds);
        s.cursor.status = Status.Proposed;
        s.cursor.deadline = deadline;
        s.specHash = specHash;
        s.terms = terms;
        emit StudyProposed(study, msg.sender, specHash, terms, deadline, spec);
    }

    /// @inheritdoc IStudy
    function accept(uint256 study, bytes32 specHash, bytes32 tip) external {
        (Record storage s, uint8 seat) = _answering(study, specHash);
        if (s.sites[msg.sender].accepted) revert StudyAlreadyAnswered(study, msg.sender);
        bool running = s.cursor.status == Status.Running;
        uint16 fromRound = running ? _join(s, seat) : _firstRound(s);
        s.answered |= Bitmap.bit(seat);
        s.participants |= Bitmap.bit(seat);
        s.sites[msg.sender] = Site({link: tip, epsilonSpent: 0, fromRound: fromRound, accepted: true});
        emit StudyAccepted(study, msg.sender, seat, specHash, tip, fromRound);
        if (!running) _startIfAnswered(study, s);
    }

    /// @inheritdoc IStudy
    function decline(uint256 study, bytes32 specHash) external {
        (Record storage s, uint8 seat) = _answering(study, specHash);
        if (s.cursor.status != Status.Proposed) revert StudyWrongStatus(study, s.cursor.status);
        if (s.answered.contains(seat)) revert StudyAlreadyAnswered(study, msg.sender);
        s.answered |= Bitmap.bit(seat);
        emit StudyDeclined(study, msg.sender, seat, specHash);
        _startIfAnswered(study, s);
    }

    /// @inheritdoc IStudy
    function start(uint256 study) external {
        Record storage s = _in(study, Status.Proposed);
        uint256 members = consortium.activeSeats();
        if (block.timestamp <= s.cursor.deadline && members & ~s.answered != 0) {
            revert StudyTooEarly(s.cursor.deadline);
        }
        uint256 sites = (s.participants & members).count();
        if (sites < s.terms.minSites) revert StudyTooFewSites(sites, s.terms.minSites);
        _start(study, s, members);
    }

    /// @inheritdoc IStudy
    function lapse(uint256 study) external {
        Record storage s = _in(study, Status.Proposed);
        if (block.timestamp <= s.cursor.deadline) revert StudyTooEarly(s.cursor.deadline);
        if ((s.participants & consortium.activeSeats()).count() >= s.terms.minSites) {
            revert StudyWrongStatus(study, Status.Proposed);
        }
        _end(s, Status.Aborted);
        emit StudyAborted(study, AbortReason.Lapsed);
    }

    /// @inheritdoc IStudy
    function withdraw(uint256 study) external {
        (Record storage s, uint8 seat) = _participating(study);
        uint256 others = ~Bitmap.bit(seat);
        s.participants &= others;
        s.eligible &= others;
        s.joinNext &= others;
        s.joinAfter &= others;
        emit SiteWithdrew(study, msg.sender, seat);
    }

    /// @inheritdoc IStudy
    function voteAbort(uint256 study) external {
        (Record storage s, uint8 seat) = _participating(study);
        uint256 participants = s.participants & consortium.activeSeats();
        uint256 votes = s.abortVotes | Bitmap.bit(seat);
        bool carried = (votes & participants).count() >= participants.count().quorum(s.terms.quorumBps);
        if (votes != s.abortVotes) {
            s.abortVotes = votes;
            emit AbortVoted(study, msg.sender, seat);
        } else if (!carried) {
            revert StudyAlreadyVoted(study, msg.sender);
        }
        if (carried) {
            _end(s, Status.Aborted);
            emit StudyAborted(study, AbortReason.Voted);
        }
    }

    /// @dev The record of a study that the sender may answer with this hash, and the sender's seat.
    function _answering(uint256 study, bytes32 specHash) private view returns (Record storage s, uint8 seat) {
        s = _studies[study];
        Status status = s.cursor.status;
        if (status != Status.Proposed && status != Status.Running) revert StudyWrongStatus(study, status);
        seat = consortium.seatOf(msg.sender);
        if (specHash != s.specHash) revert StudyWrongSpecification(specHash, s.specHash);
        if (status == Status.Proposed && block.timestamp > s.cursor.deadline) revert StudyTooLate(s.cursor.deadline);
    }

    /// @dev Books a joiner for the first round none of whose reveals are public: the next one, or the one after while
    ///      a review is on, since attestations bring commits of the next. A study too near its end is not joined.
    function _join(Record storage s, uint8 seat) private returns (uint16 fromRound) {
        bool reviewing = s.cursor.phase == Phase.Reviewing;
        uint256 from = uint256(s.cursor.round) + (reviewing ? 2 : 1);
        if (from > s.terms.rounds) revert StudyTooLate(s.cursor.deadline);
        if (reviewing) s.joinAfter |= Bitmap.bit(seat);
        else s.joinNext |= Bitmap.bit(seat);
        // forge-lint: disable-next-line(unsafe-typecast)
        fromRound = uint16(from); // from <= rounds
    }

    function _startIfAnswered(uint256 study, Record storage s) private {
        uint256 members = consortium.activeSeats();
        if (members & ~s.answered != 0) return;
        if ((s.participants & members).count() >= s.terms.minSites) _start(study, s, members);
    }

    function _start(uint256 study, Record storage s, uint256 members) private {
        bytes32 seed = Election.genesis(study, s.specHash);
        s.cursor.status = Status.Running;
        s.seed = seed;
        s.eligible = s.participants;
        emit StudyStarted(study, s.participants & members, seed);
        _openRound(study, s, _firstRound(s));
    }

    function _firstRound(Record storage s) private view returns (uint16) {
        return s.terms.statistics ? 0 : 1;
    }

    function _checkTerms(Terms calldata t) private pure {
        if (t.rounds == 0 || t.rounds > MAX_ROUNDS) revert StudyInvalidTerms("rounds");
        if (t.minSites == 0 || t.minSites > 256) revert StudyInvalidTerms("minSites");
        if (t.quorumBps <= 5000 || t.quorumBps > 10000) revert StudyInvalidTerms("quorumBps");
        if (t.acceptSeconds == 0) revert StudyInvalidTerms("acceptSeconds");
        if (t.collectSeconds == 0) revert StudyInvalidTerms("collectSeconds");
        if (t.mergeSeconds == 0) revert StudyInvalidTerms("mergeSeconds");
        if (t.reviewSeconds == 0) revert StudyInvalidTerms("reviewSeconds");
        if (t.leastSeconds == 0) revert StudyInvalidTerms("leastSeconds");
        if (t.weightCap == 0) revert StudyInvalidTerms("weightCap");
        if (t.clipBound == 0) revert StudyInvalidTerms("clipBound");
    }
}
