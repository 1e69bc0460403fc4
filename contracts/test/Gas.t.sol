// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IStudy} from "../src/IStudy.sol";
import {Studies} from "./support/Studies.sol";
import {vm} from "./support/Vm.sol";

/// @dev What a transaction of each kind costs, all in, in the second round of a study among 4, 16 and 64 sites. The
///      figures are on record in test/gas; no call of a round may cost more where there are more sites.
/// forge-config: default.isolate = true
contract GasTest is Studies {
    function test_gas_4_sites() public {
        measure(4, "4-sites");
    }

    function test_gas_16_sites() public {
        measure(16, "16-sites");
    }

    function test_gas_64_sites() public {
        measure(64, "64-sites");
    }

    function measure(uint256 n, string memory group) private {
        found(n);
        deployStudy();
        membership(n, group);

        IStudy.Terms memory terms = defaultTerms();
        terms.minSites = uint16(n - 1);
        terms.rounds = 4;
        vm.prank(site(0));
        id = study.propose(SPEC, terms);
        vm.snapshotGasLastCall(group, "propose");
        accept(0);
        vm.snapshotGasLastCall(group, "accept");
        for (uint256 i = 1; i < n; ++i) {
            accept(i);
        }
        vm.snapshotGasLastCall(group, "accept, starting the study");
        completeRound(n);
        secondRound(n, group);
        thirdRound(n, group);
        fault(n, group);
    }

    function membership(uint256 n, string memory group) private {
        vm.prank(site(n));
        uint256 motion = consortium.requestMembership("a new hospital");
        vm.snapshotGasLastCall(group, "requestMembership");
        vm.prank(site(0));
        consortium.vote(motion, true);
        vm.prank(site(1));
        consortium.vote(motion, true);
        vm.snapshotGasLastCall(group, "vote");
        vm.warp(block.timestamp + MOTION_SECONDS + 1);
        consortium.closeMotion(motion);
        string[] memory multiaddrs = new string[](1);
        multiaddrs[0] = "/ip4/10.0.0.1/tcp/4001";
        vm.prank(site(0));
        consortium.publishAddresses(multiaddrs);
        vm.snapshotGasLastCall(group, "publishAddresses");
    }

    function secondRound(uint256 n, string memory group) private {
        commit(0);
        commit(1);
        vm.snapshotGasLastCall(group, "commit");
        for (uint256 i = 2; i < n; ++i) {
            commit(i);
        }
        vm.snapshotGasLastCall(group, "commit, sealing the round");
        publish();
        vm.snapshotGasLastCall(group, "publish");
        attestAndCommit(follower(0));
        vm.snapshotGasLastCall(group, "attestAndCommit");
        attestAll();
    }

    function thirdRound(uint256 n, string memory group) private {
        commitRest(n);
        publish();
        attest(follower(0));
        vm.snapshotGasLastCall(group, "attest");
        uint256 quorum = (n * 66 + 99) / 100;
        for (uint256 i = 1; i < quorum - 2; ++i) {
            attest(follower(i));
        }
        attestAndCommit(follower(quorum - 2));
        vm.snapshotGasLastCall(group, "attestAndCommit, making it final");
    }

    function commitRest(uint256 n) private {
        for (uint256 i = 0; i < n; ++i) {
            if (view_().committed & (1 << i) == 0) commit(i);
        }
    }

    function fault(uint256 n, string memory group) private {
        commitRest(n - 1);
        vm.warp(view_().sealableAt);
        sealRound();
        vm.snapshotGasLastCall(group, "seal");
        publish();
        reject(follower(0));
        vm.snapshotGasLastCall(group, "reject");
        vm.warp(view_().deadline + 1);
        rotate();
        vm.snapshotGasLastCall(group, "rotate");
    }
}
