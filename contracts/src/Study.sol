// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IConsortium} from "./IConsortium.sol";
import {IStudy} from "./IStudy.sol";
import {StudyLifecycle} from "./StudyLifecycle.sol";
import {StudyState} from "./StudyState.sol";

/// @title The studies of a consortium.
/// @notice IStudy says what a study is and what each call does, StudyLifecycle how one starts and ends, and
///         StudyRounds what the rules of a round are.
contract Study is StudyLifecycle {
    /// @param consortium_ The consortium whose members run these studies.
    constructor(IConsortium consortium_) StudyState(consortium_) {}

    /// @inheritdoc IStudy
    function viewStudy(uint256 study) external view returns (View memory) {
        Record storage s = _studies[study];
        Cursor memory at = s.cursor;
        return View({
            status: at.status,
            phase: at.phase,
            round: at.round,
            attempt: at.attempt,
            term: at.term,
            leaderSeat: at.leaderSeat,
            deadline: at.deadline,
            sealableAt: at.sealableAt,
            eligible: _active(s),
            committed: s.committed,
            attested: s.attested,
            rejected: s.rejected,
            nextCommitted: s.nextCommitted,
            seed: s.seed,
            output: s.output,
            lastFinal: s.lastFinal,
            specHash: s.specHash
        });
    }

    /// @inheritdoc IStudy
    function termsOf(uint256 study) external view returns (Terms memory) {
        return _studies[study].terms;
    }

    /// @inheritdoc IStudy
    function siteState(uint256 study, address site)
        external
        view
        returns (bytes32 link, uint64 epsilonSpent, bool accepted, uint16 fromRound)
    {
        Site storage s = _studies[study].sites[site];
        return (s.link, s.epsilonSpent, s.accepted, s.fromRound);
    }
}
