// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "../../src/Bitmap.sol";
import {IStudy} from "../../src/IStudy.sol";
import {Study} from "../../src/Study.sol";
import {Consortia} from "./Consortia.sol";
import {vm} from "./Vm.sol";

/// @title A study to test with, and sites that do what the protocol asks.
abstract contract Studies is Consortia {
    bytes internal constant SPEC = '{"model":"logistic-regression"}';
    bytes32 internal immutable SPEC_HASH = sha256(SPEC); // a constant would call sha256 at each use
    bytes32 internal constant OUTPUT = keccak256("a merged model");
    uint256 internal constant CHAIN_LENGTH = 64;

    Study internal study;
    uint256 internal id;
    /// @dev Links of each site's hash chain that it has revealed.
    mapping(Study => mapping(uint256 seat => uint256)) internal revealed;

    // -- a study -------------------------------------------------------------------------------------------------

    function defaultTerms() internal pure returns (IStudy.Terms memory) {
        return IStudy.Terms({
            rounds: 3,
            statistics: false,
            minSites: 3,
            quorumBps: 6600, // 3 of 4, 4 of 5 and 6
            acceptSeconds: 1 hours,
            collectSeconds: 600,
            graceSeconds: 60,
            mergeSeconds: 300,
            reviewSeconds: 200,
            leastSeconds: 600, // as long as the others: deadlines are constants here
            weightCap: 1000,
            epsilonBudget: 8_000_000,
            clipBound: 1_000_000
        });
    }

    function deployStudy() internal {
        study = Study(vm.deployCode("out/Study.sol/Study.json", abi.encode(consortium)));
    }

    /// @dev Founds a consortium of n sites and proposes a study; site 0 is the proposer.
    function proposed(uint256 n, IStudy.Terms memory terms) internal {
        found(n);
        deployStudy();
        vm.prank(site(0));
        id = study.propose(SPEC, terms);
    }

    /// @dev As `proposed`, with the study accepted by all, and so in its first round.
    function running(uint256 n, IStudy.Terms memory terms) internal {
        proposed(n, terms);
        for (uint256 i = 0; i < n; ++i) {
            accept(i);
        }
    }

    function accept(uint256 i) internal {
        bytes32 tip = link(i, revealed[study][i]);
        vm.prank(site(i));
        study.accept(id, SPEC_HASH, tip);
    }

    // -- a round -------------------------------------------------------------------------------------------------

    /// @dev The k-th link of a site's hash chain after its tip.
    function link(uint256 i, uint256 k) internal pure returns (bytes32 hash) {
        hash = keccak256(abi.encode("root", i));
        for (; k < CHAIN_LENGTH; ++k) {
            hash = keccak256(abi.encode(hash));
        }
    }

    /// @dev What an honest site commits next.
    function commitment(uint256 i) internal view returns (IStudy.Commitment memory) {
        uint256 links = revealed[study][i] + 1;
        return IStudy.Commitment({
            blob: keccak256(abi.encode("update", i, links)),
            weight: uint32(100 + i),
            epsilonSpent: uint64(100_000 * links),
            reveal: link(i, links),
            seenBlock: uint64(block.number - 1),
            seenHash: blockhash(block.number - 1)
        });
    }

    /// @dev Has a site commit in whatever round and attempt it is.
    function commit(uint256 i) internal {
        IStudy.View memory at = view_();
        commit(i, at.round, at.attempt, commitment(i));
        ++revealed[study][i];
    }

    function commit(uint256 i, uint16 round, uint16 attempt, IStudy.Commitment memory c) internal {
        vm.prank(site(i));
        study.commit(id, round, attempt, c);
    }

    function commitAll(uint256 n) internal {
        for (uint256 i = 0; i < n; ++i) {
            commit(i);
        }
    }

    /// @dev Publishes as the leader, with everything merged.
    function publish() internal {
        publish(OUTPUT);
    }

    function publish(bytes32 output) internal {
        IStudy.View memory at = view_();
        vm.prank(site(at.leaderSeat));
        study.publish(id, at.round, at.term, output, at.committed, "");
    }

    function attest(uint256 i) internal {
        IStudy.View memory at = view_();
        vm.prank(site(i));
        study.attest(id, at.round, at.term, at.output);
    }

    function attestAndCommit(uint256 i) internal {
        IStudy.View memory at = view_();
        IStudy.Commitment memory c = commitment(i);
        vm.prank(site(i));
        study.attestAndCommit(id, at.round, at.term, at.output, c);
        ++revealed[study][i];
    }

    function reject(uint256 i) internal {
        IStudy.View memory at = view_();
        vm.prank(site(i));
        study.reject(id, at.round, at.term, at.output, 1);
    }

    function withdraw(uint256 i) internal {
        vm.prank(site(i));
        study.withdraw(id);
    }

    function rotate() internal {
        IStudy.View memory at = view_();
        study.rotate(id, at.round, at.term);
    }

    function sealRound() internal {
        IStudy.View memory at = view_();
        study.seal(id, at.round, at.attempt);
    }

    /// @dev Attests as the lowest active committers, until the round or study has ended.
    function attestAll() internal {
        uint16 round = view_().round;
        for (uint256 i = 0; view_().round == round && view_().status == IStudy.Status.Running; ++i) {
            IStudy.View memory at = view_();
            if (!Bitmap.contains(at.committed & at.eligible & ~at.attested, uint8(i))) continue;
            attest(i);
        }
    }

    /// @dev One honest round of the n sites in the lowest seats.
    function completeRound(uint256 n) internal {
        commitAll(n);
        publish();
        attestAll();
    }

    // -- what is seen --------------------------------------------------------------------------------------------

    function view_() internal view returns (IStudy.View memory) {
        return study.viewStudy(id);
    }

    function leader() internal view returns (uint256) {
        return view_().leaderSeat;
    }

    /// @dev The k-th site, from the lowest seat, that does not lead.
    function follower(uint256 k) internal view returns (uint256) {
        return k < leader() ? k : k + 1;
    }

    function assertPhase(IStudy.Phase phase) internal view {
        vm.assertEq(uint256(view_().phase), uint256(phase));
    }

    function assertStatus(IStudy.Status status) internal view {
        vm.assertEq(uint256(view_().status), uint256(status));
    }

    function wrongStatus(IStudy.Status status) internal view returns (bytes memory) {
        return abi.encodeWithSelector(IStudy.StudyWrongStatus.selector, id, status);
    }

    function wrongPhase(IStudy.Phase phase) internal view returns (bytes memory) {
        return abi.encodeWithSelector(IStudy.RoundWrongPhase.selector, id, phase);
    }
}
