// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who is a member of the consortium.
/// @notice Members admit and remove members by vote; nobody owns the contract. Every member has a seat,
///         numbered 0..255, that is never given to anybody else, so that a set of sites is one 256-bit word.
///         A consortium therefore admits at most 256 sites in its lifetime. A site that comes back takes its own
///         seat again.
interface IConsortium {
    /// @notice A founding site.
    struct Founder {
        address account;
        string name;
    }

    /// @notice What a motion asks for.
    enum MotionKind {
        Admit,
        Remove
    }

    /// @notice What became of a motion.
    enum MotionState {
        None,
        Open,
        Passed,
        Rejected
    }

    event ConsortiumFounded(uint16 quorumBps, uint32 motionSeconds);
    /// @notice A site became a member; founders too.
    event SiteAdmitted(address indexed site, uint8 seat, string name);
    event SiteLeft(address indexed site, uint8 seat);
    event SiteRemoved(address indexed site, uint8 seat, uint256 indexed motion);
    /// @notice The libp2p multiaddrs under which a site can be dialled; replaces what it published before.
    event AddressesPublished(address indexed site, string[] multiaddrs);
    /// @param text The applicant's name for Admit, the reason given for Remove.
    event MotionOpened(
        uint256 indexed motion,
        MotionKind kind,
        address indexed subject,
        address indexed opener,
        string text,
        uint64 deadline
    );
    event VoteCast(uint256 indexed motion, address indexed voter, bool approve);
    event MotionClosed(uint256 indexed motion, MotionState state);

    error ConsortiumInvalidQuorum(uint16 quorumBps);
    error ConsortiumInvalidDuration(uint32 motionSeconds);
    error ConsortiumNoFounders();
    error ConsortiumInvalidAccount(address account);
    error ConsortiumInvalidText(uint256 length, uint256 max);
    error ConsortiumNotMember(address account);
    error ConsortiumAlreadyMember(address account);
    error ConsortiumSeatsExhausted();
    error ConsortiumLastMember();
    error ConsortiumMotionPending(uint256 motion);
    error ConsortiumMotionNotOpen(uint256 motion, MotionState state);
    error ConsortiumMotionExpired(uint256 motion, uint64 deadline);
    error ConsortiumMotionNotExpired(uint256 motion, uint64 deadline);
    error ConsortiumAlreadyVoted(uint256 motion, address voter);
    error ConsortiumInvalidAddresses(uint256 count, uint256 max);

    /// @notice Ask to become a member, by the applicant's own account. One open motion per subject.
    function requestMembership(string calldata name) external returns (uint256 motion);
    /// @notice Ask the members to remove a site; the opener's approval is counted.
    function proposeRemoval(address site, string calldata reason) external returns (uint256 motion);
    /// @notice Approve or refuse. The vote that reaches `threshold()` carries the motion out at once; the one that
    ///         makes it unreachable closes it. Only votes of sites that are still members count.
    function vote(uint256 motion, bool approve) external;
    /// @notice Close a motion whose deadline has passed without a decision (it is rejected).
    function closeMotion(uint256 motion) external;
    function leave() external;
    function publishAddresses(string[] calldata multiaddrs) external;

    /// @notice Votes a motion needs: ceil(members * quorumBps / 10000).
    function threshold() external view returns (uint256);
    /// @notice Bit `s` is set where seat `s` is a member now.
    function activeSeats() external view returns (uint256);
    /// @notice The seat of a member; reverts with ConsortiumNotMember otherwise.
    function seatOf(address site) external view returns (uint8);
    /// @notice Who holds, or held, a seat; zero where none ever did.
    function siteAt(uint8 seat) external view returns (address);
    function isMember(address account) external view returns (bool);
}
