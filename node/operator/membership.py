"""Joining a consortium, voting on who joins or goes, and leaving."""

import threading
from collections.abc import Callable
from typing import Any

from ledger.errors import RpcError
from ledger.events import MotionClosed, VoteCast
from ledger.reverts import ConsortiumMotionNotExpired, ConsortiumMotionNotOpen
from ledger.state.consortium import Motion
from ledger.types import MotionKind, MotionState
from node.errors import OperatorError
from node.operator.desk import Desk

POLL_SECONDS = 1.0
Tell = Callable[[str], None]


def members(desk: Desk) -> dict[str, Any]:
    """Say who is a member, and what is being voted on."""
    consortium = desk.consortium
    return {
        "members": [
            {
                "name": member.name,
                "address": account,
                "seat": member.seat,
                "since": member.since.timestamp,
                "multiaddrs": list(member.addresses),
                "me": account == desk.address,
            }
            for account, member in sorted(consortium.members.items(), key=lambda item: item[1].seat)
        ],
        "former": [{"name": member.name, "address": account} for account, member in consortium.former.items()],
        "threshold": consortium.threshold,
        "motions": [_motion(desk, motion) for motion in consortium.open_motions.values()],
    }


def join(desk: Desk, *, wait: bool, tell: Tell) -> dict[str, Any]:
    """Apply for membership, and wait until the members have decided.

    An application that is open already is taken up again. Raises OperatorError where they refused, or let it expire.
    """
    if desk.address in desk.consortium.members:
        return {"member": True, "address": desk.address, "motion": None}
    motion = next((m for m in desk.consortium.open_motions.values() if m.subject == desk.address), None)
    if motion is None:
        number, _ = desk.ledger.request_membership(desk.config.name)
        desk.catch_up()
        motion = desk.consortium.motions[number]
    tell(
        f"motion {motion.number}: {desk.config.name} ({desk.address}) asks to join; "
        f"{desk.consortium.threshold} of {len(desk.consortium.members)} members must approve"
    )
    if wait and await_decision(desk, motion.number, tell) is not MotionState.PASSED:
        raise OperatorError("the members did not admit this site; ask them why, and `swarm-node join` again")
    return {"member": desk.address in desk.consortium.members, "address": desk.address, "motion": motion.number}


def await_decision(desk: Desk, number: int, tell: Tell) -> MotionState:
    """Wait until a motion is decided or has expired, telling of each vote; the chain may be out of reach meanwhile."""
    for voter, approve in desk.consortium.motions[number].votes.items():
        tell(_voted(desk, voter, approve))
    pause = threading.Event()  # never set: its wait is what Ctrl-C interrupts
    while (motion := desk.consortium.motions[number]).state is MotionState.OPEN:
        pause.wait(min(POLL_SECONDS, desk.config.poll_seconds * 4))
        try:
            for event in desk.catch_up():
                if isinstance(event, VoteCast) and event.motion == number:
                    tell(_voted(desk, event.voter, event.approve))
                if isinstance(event, MotionClosed) and event.motion == number:
                    tell(f"motion {number}: {event.state.name.lower()}")
            if desk.chain_time() > motion.deadline:
                close_expired(desk, number)
        except RpcError as error:
            tell(f"still waiting: {error}")
    return motion.state


def close_expired(desk: Desk, number: int) -> None:
    """Close a motion whose time is over, where the chain's clock agrees."""
    try:
        desk.ledger.close_motion(number)
    except (ConsortiumMotionNotExpired, ConsortiumMotionNotOpen):
        return


def vote(desk: Desk, number: int, *, approve: bool) -> dict[str, Any]:
    """Vote on a motion; gives how it stands afterwards."""
    if number not in desk.consortium.motions:
        raise OperatorError(f"there is no motion {number}; `swarm-node members` shows those that are open")
    receipt = desk.ledger.vote(number, approve)
    desk.catch_up()
    return {**_motion(desk, desk.consortium.motions[number]), "transaction": receipt.tx.hex()}


def leave(desk: Desk) -> dict[str, Any]:
    """Leave the consortium: this site's connections to it end, and it takes part in no study any more."""
    receipt = desk.ledger.leave()
    return {"address": desk.address, "transaction": receipt.tx.hex()}


def propose_removal(desk: Desk, site: str, reason: str) -> dict[str, Any]:
    """Ask the members to remove a site; this site's own approval is counted at once."""
    number, receipt = desk.ledger.propose_removal(desk.site(site), reason)
    desk.catch_up()
    return {**_motion(desk, desk.consortium.motions[number]), "transaction": receipt.tx.hex()}


def _motion(desk: Desk, motion: Motion) -> dict[str, Any]:
    consortium = desk.consortium
    asked = consortium.members.keys() - motion.votes.keys() if motion.state is MotionState.OPEN else set()
    voted = {consortium.name_of(voter): approve for voter, approve in motion.votes.items()}
    return {
        "motion": motion.number,
        "kind": motion.kind.name.lower(),
        "subject": motion.subject,
        "name": motion.text if motion.kind is MotionKind.ADMIT else consortium.name_of(motion.subject),
        "reason": motion.text if motion.kind is MotionKind.REMOVE else None,
        "state": motion.state.name.lower(),
        "deadline": motion.deadline,
        "approved": sorted(name for name, approve in voted.items() if approve),
        "refused": sorted(name for name, approve in voted.items() if not approve),
        "not_voted": sorted(member.name for account, member in consortium.members.items() if account in asked),
    }


def _voted(desk: Desk, voter: str, approve: bool) -> str:
    return f"{desk.consortium.name_of(voter)} {'approves' if approve else 'refuses'}"
