// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Consortium} from "../../src/Consortium.sol";
import {IConsortium} from "../../src/IConsortium.sol";
import {vm} from "./Vm.sol";

/// @title A consortium to test with: site `i` holds seat `i`.
/// @dev Deploys what the default profile compiled; `new` would take the unoptimised build that tests are compiled with.
abstract contract Consortia {
    uint16 internal constant TWO_THIRDS = 6667;
    uint32 internal constant MOTION_SECONDS = 1 days;

    Consortium internal consortium;

    /// @dev The account of a site; that of the founder in seat `i` for `i` below their number.
    function site(uint256 i) internal pure returns (address) {
        return address(uint160(0x517e0000 + i));
    }

    function founders(uint256 n) internal pure returns (IConsortium.Founder[] memory list) {
        list = new IConsortium.Founder[](n);
        for (uint256 i = 0; i < n; ++i) {
            list[i] = IConsortium.Founder(site(i), "a hospital");
        }
    }

    function found(uint256 n) internal {
        vm.warp(1_700_000_000);
        vm.roll(1000);
        bytes memory arguments = abi.encode(founders(n), TWO_THIRDS, MOTION_SECONDS);
        consortium = Consortium(vm.deployCode("out/Consortium.sol/Consortium.json", arguments));
    }

    /// @dev Admits a site by the votes of the members in the seats 0, 1, 2...
    function admit(uint256 i) internal {
        vm.prank(site(i));
        carry(consortium.requestMembership("a new hospital"), 0);
    }

    /// @dev Removes a site by the votes of the members in the lowest seats.
    function remove(uint256 i) internal {
        uint256 opener = lowestMemberBut(i);
        vm.prank(site(opener));
        carry(consortium.proposeRemoval(site(i), "it lied"), opener + 1);
    }

    function leave(uint256 i) internal {
        vm.prank(site(i));
        consortium.leave();
    }

    /// @dev Has the members from seat `from` on approve until the motion is carried.
    function carry(uint256 motion, uint256 from) private {
        uint256 needed = consortium.threshold() - (from == 0 ? 0 : 1);
        for (uint256 i = from; needed != 0; ++i) {
            if (!consortium.isMember(site(i))) continue;
            vm.prank(site(i));
            consortium.vote(motion, true);
            --needed;
        }
    }

    function lowestMemberBut(uint256 i) private view returns (uint256 seat) {
        while (seat == i || !consortium.isMember(site(seat))) ++seat;
    }
}
