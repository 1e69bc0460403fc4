// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./Bitmap.sol";
import {IConsortium} from "./IConsortium.sol";

/// @title A consortium of sites that govern their own membership.
/// @notice A motion may be voted on up to and including its deadline, and closed from the second after it. A site
///         that comes back takes its old seat again, and with it whatever its seat stands for elsewhere (the privacy
///         budget that it has spent in a running study, above all).
contract Consortium is IConsortium {
    using Bitmap for uint256;

    /// @dev One word, and a vote of the members in two more; the votes and the name go when the motion closes.
    struct Motion {
        address subject;
        MotionKind kind;
        MotionState state;
        uint64 deadline;
        uint256 approvals;
        uint256 refusals;
        string name;
    }

    /// @dev The seat of somebody who is, or was, a member.
    struct Holder {
        bool seated;
        uint8 seat;
    }

    uint256 private constant MAX_SEATS = 256;
    uint256 private constant MAX_NAME = 64;
    uint256 private constant MAX_REASON = 512;
    uint256 private constant MAX_ADDRESSES = 16;
    uint256 private constant MAX_MULTIADDR = 256;

    /// @notice Share of the members that carries a motion, in 1/10000; always a majority.
    uint16 public immutable quorumBps;
    /// @notice How long a motion may be voted on.
    uint32 public immutable motionSeconds;

    /// @inheritdoc IConsortium
    uint256 public activeSeats;
    uint256 private _seats;
    uint256 private _motions;
    mapping(uint8 seat => address) private _siteAt;
    mapping(address site => Holder) private _holder;
    mapping(uint256 motion => Motion) private _motion;
    /// @dev The motion that is open about somebody, or 0.
    mapping(address subject => uint256) private _openMotion;

    /// @param founders The first members; they take the seats from 0 in this order.
    /// @param quorumBps_ Share of the members that carries a motion, 5001..10000.
    /// @param motionSeconds_ How long a motion may be voted on.
    constructor(Founder[] memory founders, uint16 quorumBps_, uint32 motionSeconds_) {
        if (quorumBps_ <= 5000 || quorumBps_ > 10000) revert ConsortiumInvalidQuorum(quorumBps_);
        if (motionSeconds_ == 0) revert ConsortiumInvalidDuration(motionSeconds_);
        if (founders.length == 0) revert ConsortiumNoFounders();
        quorumBps = quorumBps_;
        motionSeconds = motionSeconds_;
        emit ConsortiumFounded(quorumBps_, motionSeconds_);
        for (uint256 i = 0; i < founders.length; ++i) {
            address account = founders[i].account;
            if (account == address(0)) revert ConsortiumInvalidAccount(account);
            if (isMember(account)) revert ConsortiumAlreadyMember(account);
            _checkText(bytes(founders[i].name).length, MAX_NAME);
            _admit(account, founders[i].name);
        }
    }

    // -- what members and applicants do --------------------------------------------------------------------------

    /// @inheritdoc IConsortium
    function requestMembership(string calldata name) external returns (uint256 motion) {
        if (isMember(msg.sender)) revert ConsortiumAlreadyMember(msg.sender);
        if (!_holder[msg.sender].seated && _seats == MAX_SEATS) revert ConsortiumSeatsExhausted();
        _checkText(bytes(name).length, MAX_NAME);
        motion = _open(MotionKind.Admit, msg.sender, name);
        _motion[motion].name = name;
    }

    /// @inheritdoc IConsortium
    function proposeRemoval(address site, string calldata reason) external returns (uint256 motion) {
        uint8 seat = seatOf(msg.sender);
        if (!isMember(site)) revert ConsortiumNotMember(site);
        _checkText(bytes(reason).length, MAX_REASON);
        motion = _open(MotionKind.Remove, site, reason);
        _castVote(motion, seat, true);
    }

    /// @inheritdoc IConsortium
    function vote(uint256 motion, bool approve) external {
        uint8 seat = seatOf(msg.sender);
        Motion storage m = _openAt(motion);
        if (block.timestamp > m.deadline) revert ConsortiumMotionExpired(motion, m.deadline);
        if ((m.approvals | m.refusals).contains(seat)) revert ConsortiumAlreadyVoted(motion, msg.sender);
        _castVote(motion, seat, approve);
    }

    /// @inheritdoc IConsortium
    function closeMotion(uint256 motion) external {
        Motion storage m = _openAt(motion);
        if (block.timestamp <= m.deadline) revert ConsortiumMotionNotExpired(motion, m.deadline);
        _close(motion, MotionState.Rejected);
    }

    /// @inheritdoc IConsortium
    /// @dev A motion to remove the leaver has lost its object and closes with it.
    function leave() external {
        uint8 seat = seatOf(msg.sender);
        _vacate(seat);
        emit SiteLeft(msg.sender, seat);
        uint256 motion = _openMotion[msg.sender];
        if (motion != 0) _close(motion, MotionState.Rejected);
    }

    /// @inheritdoc IConsortium
    function publishAddresses(string[] calldata multiaddrs) external {
        if (!isMember(msg.sender)) revert ConsortiumNotMember(msg.sender);
        if (multiaddrs.length > MAX_ADDRESSES) revert ConsortiumInvalidAddresses(multiaddrs.length, MAX_ADDRESSES);
        for (uint256 i = 0; i < multiaddrs.length; ++i) {
            _checkText(bytes(multiaddrs[i]).length, MAX_MULTIADDR);
        }
        emit AddressesPublished(msg.sender, multiaddrs);
    }

    // -- views ---------------------------------------------------------------------------------------------------

    /// @inheritdoc IConsortium
    function threshold() public view returns (uint256) {
        return activeSeats.count().quorum(quorumBps);
    }

    /// @inheritdoc IConsortium
    function seatOf(address site) public view returns (uint8 seat) {
        if (!isMember(site)) revert ConsortiumNotMember(site);
        seat = _holder[site].seat;
    }

    /// @inheritdoc IConsortium
    function siteAt(uint8 seat) external view returns (address) {
        return _siteAt[seat];
    }

    /// @inheritdoc IConsortium
    function isMember(address account) public view returns (bool) {
        Holder storage holder = _holder[account];
        return holder.seated && activeSeats.contains(holder.seat);
    }

    // -- motions -------------------------------------------------------------------------------------------------

    function _open(MotionKind kind, address subject, string calldata text) private returns (uint256 motion) {
        uint256 pending = _openMotion[subject];
        if (pending != 0) revert ConsortiumMotionPending(pending);
        motion = ++_motions;
        uint64 deadline = uint64(block.timestamp) + motionSeconds;
        Motion storage m = _motion[motion];
        m.subject = subject;
        m.kind = kind;
        m.state = MotionState.Open;
        m.deadline = deadline;
        _openMotion[subject] = motion;
        emit MotionOpened(motion, kind, subject, msg.sender, text, deadline);
    }

    function _openAt(uint256 motion) private view returns (Motion storage m) {
        m = _motion[motion];
        if (m.state != MotionState.Open) revert ConsortiumMotionNotOpen(motion, m.state);
    }

    /// @dev Records a vote and carries the motion out, or closes it, where the vote decides it.
    function _castVote(uint256 motion, uint8 seat, bool approve) private {
        Motion storage m = _motion[motion];
        if (approve) m.approvals |= Bitmap.bit(seat);
        else m.refusals |= Bitmap.bit(seat);
        emit VoteCast(motion, msg.sender, approve);

        uint256 needed = threshold();
        uint256 members = activeSeats;
        if ((m.approvals & members).count() >= needed) _carryOut(motion);
        else if ((members & ~m.refusals).count() < needed) _close(motion, MotionState.Rejected);
    }

    function _carryOut(uint256 motion) private {
        Motion storage m = _motion[motion];
        address subject = m.subject;
        if (m.kind == MotionKind.Admit) {
            _admit(subject, m.name);
        } else {
            uint8 seat = seatOf(subject);
            _vacate(seat);
            emit SiteRemoved(subject, seat, motion);
        }
        _close(motion, MotionState.Passed);
    }

    function _close(uint256 motion, MotionState state) private {
        Motion storage m = _motion[motion];
        m.state = state;
        m.approvals = 0;
        m.refusals = 0;
        delete m.name;
        delete _openMotion[m.subject];
        emit MotionClosed(motion, state);
    }

    // -- seats ---------------------------------------------------------------------------------------------------

    /// @dev Called in a loop by the constructor alone, once in a consortium's life.
    // slither-disable-start costly-loop
    function _admit(address site, string memory name) private {
        Holder storage holder = _holder[site];
        if (!holder.seated) {
            if (_seats == MAX_SEATS) revert ConsortiumSeatsExhausted();
            holder.seated = true;
            // forge-lint: disable-next-line(unsafe-typecast)
            holder.seat = uint8(_seats); // _seats < MAX_SEATS
            _siteAt[holder.seat] = site;
            ++_seats;
        }
        uint8 seat = holder.seat;
        activeSeats |= Bitmap.bit(seat);
        emit SiteAdmitted(site, seat, name);
    }
    // slither-disable-end costly-loop

    function _vacate(uint8 seat) private {
        uint256 left = activeSeats & ~Bitmap.bit(seat);
        if (left == 0) revert ConsortiumLastMember();
        activeSeats = left;
    }

    function _checkText(uint256 length, uint256 max) private pure {
        if (length == 0 || length > max) revert ConsortiumInvalidText(length, max);
    }
}
