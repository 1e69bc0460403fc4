// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Swarm} from "./invariant/Swarm.sol";
import {vm} from "./support/Vm.sol";

/// @dev Whole studies of honest and lying sites. Most of what must hold is checked event by event as they play
///      (test/invariant/Auditor.sol); here is what must hold of the state between any two calls.
contract StudyInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Swarm private swarm;

    function setUp() public {
        swarm = new Swarm();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(swarm);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](7);
        selectors[0] = Swarm.honest.selector;
        selectors[1] = Swarm.object.selector;
        selectors[2] = Swarm.lie.selector;
        selectors[3] = Swarm.wait.selector;
        selectors[4] = Swarm.push.selector;
        selectors[5] = Swarm.change.selector;
        selectors[6] = Swarm.despair.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(swarm), selectors);
    }

    /// @dev One invariant, since forge plays all runs again for each.
    function invariant_of_every_study() public view {
        swarm.checkViews();
        swarm.checkSets();
        swarm.checkLeader();
        swarm.checkSites();
    }
}

/// @dev That the play above gets everywhere: in one long game of it, everything that can become of a round does.
contract StudyPlayTest {
    function test_a_long_play_sees_everything() public {
        Swarm swarm = new Swarm();
        for (uint256 i = 0; i < 10000; ++i) {
            uint256 a = uint256(keccak256(abi.encode(i)));
            uint256 b = uint256(keccak256(abi.encode(a)));
            uint256 kind = a % 7;
            if (kind == 0) swarm.honest(b, b >> 128);
            else if (kind == 1) swarm.object(b, b >> 128);
            else if (kind == 2) swarm.lie(b, b >> 128);
            else if (kind == 3) swarm.wait(b);
            else if (kind == 4) swarm.push();
            else if (kind == 5) swarm.change(b, b >> 128);
            else swarm.despair(b, b >> 128);
        }
        string[15] memory events = [
            "committed",
            "voided",
            "extended",
            "retried",
            "leader late",
            "leader left",
            "leader rejected",
            "decided by departure",
            "joined",
            "finalised",
            "finished",
            "aborted",
            "lies",
            "measured deadline",
            "collection cut off"
        ];
        for (uint256 i = 0; i < events.length; ++i) {
            vm.assertTrue(swarm.timesSeen(events[i]) != 0, events[i]);
        }
    }
}
