// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The studies of a consortium, and the rules of their rounds.
/// @notice A study is proposed by its specification, accepted site by site, and then runs in rounds:
///
///   Collecting --all committed, or min sites and (grace or deadline) passed--> Merging --leader publishes--> Reviewing
///       ^  deadline with fewer than min sites: extended, on record             | deadline                   | quorum: final
///       +---- no candidate left: round retried, on record <--- next leader, term + 1, fault on record <-----+ deadline, or rejected
///
/// Sets of sites are bitmaps over the consortium's seats. A site that leaves the consortium is out of every set at once.
interface IStudy {
    enum Status {
        None,
        Proposed,
        Running,
        Finished,
        Aborted
    }

    enum Phase {
        Idle,
        Collecting,
        Merging,
        Reviewing
    }

    /// @notice Why a leader's term ended without a final model.
    enum Fault {
        MergeTimeout,
        ReviewTimeout,
        Rejected,
        NotMember
    }

    /// @notice Why a study ended without a final model.
    enum AbortReason {
        Lapsed,
        Voted
    }

    /// @notice The part of the specification that the contract enforces. Sites check it against the specification.
    /// @param rounds Training rounds, 1..65534. They are numbered from 1.
    /// @param statistics Whether round 0, which agrees the features' sums, runs first.
    /// @param minSites Fewest sites that make a round, 1..256.
    /// @param quorumBps Share of a round's committers that must attest, in 1/10000; > 5000.
    /// @param collectSeconds Longest time for the updates; as mergeSeconds and reviewSeconds, it holds until the study's
    ///        own pace was measured, and is the limit to it (Pace).
    /// @param leastSeconds Shortest time that a measured pace makes of any of the three; one that is as long as they
    ///        are makes them constants.
    /// @param weightCap Largest sample weight of one site.
    /// @param epsilonBudget Largest privacy loss of one site over the study, in micro-epsilon; 0 without differential privacy.
    /// @param clipBound L2 bound of one update in millionths; recorded for auditors, verified by the sites.
    struct Terms {
        uint16 rounds;
        bool statistics;
        uint16 minSites;
        uint16 quorumBps;
        uint32 acceptSeconds;
        uint32 collectSeconds;
        uint32 graceSeconds;
        uint32 mergeSeconds;
        uint32 reviewSeconds;
        uint32 leastSeconds;
        uint32 weightCap;
        uint64 epsilonBudget;
        uint64 clipBound;
    }

    /// @notice What a site puts on record for one round.
    /// @param blob SHA-256 of the update's manifest.
    /// @param weight Sample weight, 1..weightCap.
    /// @param epsilonSpent Privacy loss of this site in this study so far, this update included, in micro-epsilon.
    /// @param reveal Preimage of the site's last revealed link (of its tip, the first time): keccak256(reveal) == link.
    /// @param seenBlock A recent block of the history that this site signs under...
    /// @param seenHash ...and its hash.
    struct Commitment {
        bytes32 blob;
        uint32 weight;
        uint64 epsilonSpent;
        bytes32 reveal;
        uint64 seenBlock;
        bytes32 seenHash;
    }

    // -- events, in the order of a study's life ------------------------------------------------------------------

    event StudyProposed(
        uint256 indexed study,
        address indexed proposer,
        bytes32 indexed specHash,
        Terms terms,
        uint64 acceptDeadline,
        bytes spec
    );
    /// @param fromRound First round that this site takes part in.
    event StudyAccepted(
        uint256 indexed study, address indexed site, uint8 seat, bytes32 specHash, bytes32 tip, uint16 fromRound
    );
    event StudyDeclined(uint256 indexed study, address indexed site, uint8 seat, bytes32 specHash);
    event StudyStarted(uint256 indexed study, uint256 participants, bytes32 seed);
    event SiteWithdrew(uint256 indexed study, address indexed site, uint8 seat);
    event RoundOpened(uint256 indexed study, uint16 indexed round, uint16 attempt, uint256 eligible, uint64 deadline);
    event UpdateCommitted(
        uint256 indexed study,
        uint16 indexed round,
        address indexed site,
        uint16 attempt,
        uint8 seat,
        Commitment commitment
    );
    event RoundExtended(
        uint256 indexed study, uint16 indexed round, uint16 attempt, uint256 committed, uint64 deadline
    );
    event RoundSealed(uint256 indexed study, uint16 indexed round, uint16 attempt, uint256 committed, bytes32 seed);
    event LeaderElected(
        uint256 indexed study, uint16 indexed round, address indexed leader, uint16 term, uint8 seat, uint64 deadline
    );
    /// @param merged Seats whose updates are in the output.
    /// @param reasons One byte per committed seat that is not in `merged`, by ascending seat.
    event ModelPublished(
        uint256 indexed study,
        uint16 indexed round,
        address indexed leader,
        uint16 term,
        bytes32 output,
        uint256 merged,
        bytes reasons,
        uint64 deadline
    );
    event OutputAttested(
        uint256 indexed study, uint16 indexed round, address indexed site, uint16 term, uint8 seat, bytes32 output
    );
    event OutputRejected(
        uint256 indexed study,
        uint16 indexed round,
        address indexed site,
        uint16 term,
        uint8 seat,
        bytes32 output,
        uint8 reason
    );
    /// @notice Commits for `round` that were made on an output which did not become final.
    event CommitsVoided(uint256 indexed study, uint16 indexed round, uint256 voided);
    event LeaderFailed(uint256 indexed study, uint16 indexed round, address indexed leader, uint16 term, Fault fault);
    event RoundRetried(uint256 indexed study, uint16 indexed round, uint16 attempt, uint64 deadline);
    event RoundFinalised(
        uint256 indexed study, uint16 indexed round, uint16 term, bytes32 output, uint256 merged, uint256 attested
    );
    event StudyFinished(uint256 indexed study, bytes32 output);
    event AbortVoted(uint256 indexed study, address indexed site, uint8 seat);
    event StudyAborted(uint256 indexed study, AbortReason reason);

    // -- errors --------------------------------------------------------------------------------------------------

    error StudyInvalidTerms(string field);
    error StudyInvalidSpecification(uint256 length, uint256 max);
    error StudyWrongSpecification(bytes32 given, bytes32 expected);
    error StudyWrongStatus(uint256 study, Status status);
    error StudyAlreadyAnswered(uint256 study, address site);
    error StudyNotParticipant(uint256 study, address site);
    error StudyTooFewSites(uint256 have, uint256 need);
    /// @param until The deadline that must have passed; the call is allowed from the second after it.
    error StudyTooEarly(uint64 until);
    /// @param deadline For `accept` in a running study: there is no round left that the site could still join.
    error StudyTooLate(uint64 deadline);
    error StudyAlreadyVoted(uint256 study, address site);
    error RoundWrongPhase(uint256 study, Phase phase);
    error RoundWrongNumber(uint16 given, uint16 current);
    error RoundWrongAttempt(uint16 given, uint16 current);
    error RoundWrongTerm(uint16 given, uint16 current);
    error RoundNotEligible(uint16 round, address site);
    error RoundAlreadyCommitted(uint16 round, address site);
    error RoundNotSealable(uint64 notBefore);
    error CommitInvalidBlob();
    error CommitInvalidWeight(uint32 weight, uint32 cap);
    error CommitEpsilonDecreased(uint64 given, uint64 spent);
    error CommitEpsilonBudgetExceeded(uint64 given, uint64 budget);
    error CommitStaleReveal(bytes32 given, bytes32 link);
    /// @notice The block is too old or too new for this chain to know its hash; sign a newer one.
    error CommitUnknownBlock(uint64 number);
    /// @notice The signer saw another history than this chain's.
    error CommitOtherHistory(uint64 number, bytes32 seen, bytes32 actual);
    error PublishNotLeader(address sender, address leader);
    error PublishInvalidOutput();
    error PublishNotCommitted(uint256 merged, uint256 committed);
    error PublishTooFewMerged(uint256 merged, uint256 need);
    error PublishInvalidReasons(uint256 length, uint256 expected);
    error ReviewWrongOutput(bytes32 given, bytes32 published);
    error ReviewAlreadyVoted(uint16 round, address site);
    error ReviewNotCommitter(uint16 round, address site);

    // -- a study -------------------------------------------------------------------------------------------------

    /// @notice Propose a study by its canonical specification; its hash is `sha256(spec)`.
    function propose(bytes calldata spec, Terms calldata terms) external returns (uint256 study);
    /// @notice Accept that very specification, with the tip of a fresh hash chain (keccak256). In a running study
    ///         the site takes part from the first round none of whose reveals were public when it chose its tip.
    ///         The answer of the last member that had none starts the study where at least minSites accepted.
    ///         Who declined may accept after all; who accepted can only `withdraw`.
    function accept(uint256 study, bytes32 specHash, bytes32 tip) external;
    /// @notice Decline that very specification, while it is proposed.
    function decline(uint256 study, bytes32 specHash) external;
    /// @notice Start, where at least minSites accepted: after the accept deadline, or once no member has yet to answer.
    function start(uint256 study) external;
    /// @notice Abort a proposal whose deadline has passed and that fewer than minSites accepted; refused with
    ///         StudyWrongStatus where enough did, since it can be started.
    function lapse(uint256 study) external;
    /// @notice Leave a running study for good.
    function withdraw(uint256 study) external;
    /// @notice Vote to abort; a quorum of the participants (quorumBps) ends the study. A vote may be repeated where
    ///         departures since have left a quorum of votes behind it.
    function voteAbort(uint256 study) external;

    // -- a round -------------------------------------------------------------------------------------------------

    /// @notice Commit an update. The commit that completes the eligible set seals the round and elects its leader.
    function commit(uint256 study, uint16 round, uint16 attempt, Commitment calldata commitment) external;
    /// @notice Attest to the published output and commit the next round's update, which was trained on it, at once.
    ///         The commit enters the next round when the output becomes final, be it by this attestation; where the
    ///         term ends otherwise it is voided, and the site commits again, with its next reveal.
    function attestAndCommit(uint256 study, uint16 round, uint16 term, bytes32 output, Commitment calldata next)
        external;
    /// @notice Push a round on whose waiting is over: seal it, or extend it where fewer than minSites committed. For
    ///         anybody to call. A commit is not late as long as its round is not sealed.
    function seal(uint256 study, uint16 round, uint16 attempt) external;
    /// @notice Publish the merged model's hash, with the inputs it is made of; this is the leader's attestation, too. A
    ///         publication, attestation or rejection is not late as long as its term has not ended.
    /// @param reasons One byte per committed seat that is not in `merged`, by ascending seat.
    function publish(uint256 study, uint16 round, uint16 term, bytes32 output, uint256 merged, bytes calldata reasons)
        external;
    /// @notice Attest to the published output; the attestation that makes a quorum makes it final.
    function attest(uint256 study, uint16 round, uint16 term, bytes32 output) external;
    /// @notice Reject the published output. As soon as too few committers are left for a quorum the next term begins.
    function reject(uint256 study, uint16 round, uint16 term, bytes32 output, uint8 reason) external;
    /// @notice End a term whose deadline has passed, or whose leader left; for anybody to call. A review that somebody's
    ///         departure has decided ends with that decision.
    function rotate(uint256 study, uint16 round, uint16 term) external;

    // -- views ---------------------------------------------------------------------------------------------------

    /// @notice Where a study stands. `eligible` holds the sites that count now; the other sets are as recorded, and of
    ///         them, too, only eligible sites count.
    struct View {
        Status status;
        Phase phase;
        uint16 round;
        uint16 attempt;
        uint16 term;
        uint8 leaderSeat;
        uint64 deadline;
        uint64 sealableAt;
        uint256 eligible;
        uint256 committed;
        uint256 attested;
        uint256 rejected;
        uint256 nextCommitted;
        bytes32 seed;
        bytes32 output;
        bytes32 lastFinal;
        bytes32 specHash;
    }

    function viewStudy(uint256 study) external view returns (View memory);
    function termsOf(uint256 study) external view returns (Terms memory);
    /// @notice The last link a site revealed (its tip before the first reveal), and the epsilon it has spent.
    function siteState(uint256 study, address site)
        external
        view
        returns (bytes32 link, uint64 epsilonSpent, bool accepted, uint16 fromRound);
    function studyCount() external view returns (uint256);
}
