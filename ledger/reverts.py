"""One exception for each error that the contracts can revert with, named as there.

The arguments are attributes: `except RoundNotSealable as error: error.not_before`.
"""

from ledger.errors import ContractError
from ledger.types import Address, MotionState, Phase, Status

# -- Consortium ------------------------------------------------------------------------------------------------------


class ConsortiumInvalidQuorum(ContractError):
    """The quorum isn't a share that protects anything."""

    quorum_bps: int
    says = "a quorum of {quorum_bps}/10000 is refused; it must be above 5000 and at most 10000"


class ConsortiumInvalidDuration(ContractError):
    """The time that motions stay open is out of bounds."""

    motion_seconds: int
    says = "motions can't stay open for {motion_seconds} s"


class ConsortiumNoFounders(ContractError):
    """A consortium without founders."""

    says = "name at least one founder"


class ConsortiumInvalidAccount(ContractError):
    """An account that can't be a site."""

    account: Address
    says = "{account} can't be a site"


class ConsortiumInvalidText(ContractError):
    """A name or reason that is empty or too long."""

    length: int
    max: int
    says = "a text of {length} bytes is refused; give 1 to {max} bytes"


class ConsortiumNotMember(ContractError):
    """The account isn't a member."""

    account: Address
    says = "{account} is not a member of the consortium; ask for membership, or wait until the members have voted"


class ConsortiumAlreadyMember(ContractError):
    """The account is a member already."""

    account: Address
    says = "{account} is a member already"


class ConsortiumSeatsExhausted(ContractError):
    """All 256 seats have been given."""

    says = "all 256 seats have been given; found a new consortium"


class ConsortiumLastMember(ContractError):
    """The last member can't leave."""

    says = "the last member can't leave"


class ConsortiumMotionPending(ContractError):
    """A motion about this site is open."""

    motion: int
    says = "motion {motion} about this site is open; vote on it"


class ConsortiumMotionNotOpen(ContractError):
    """The motion is decided, or never was."""

    motion: int
    state: MotionState
    says = "motion {motion} is not open: {state.name}"


class ConsortiumMotionExpired(ContractError):
    """The motion's deadline has passed."""

    motion: int
    deadline: int
    says = "motion {motion} expired at {deadline}; close it and open another"


class ConsortiumMotionNotExpired(ContractError):
    """The motion is still open for votes."""

    motion: int
    deadline: int
    says = "motion {motion} is open for votes until {deadline}"


class ConsortiumAlreadyVoted(ContractError):
    """The member has voted on this motion."""

    motion: int
    voter: Address
    says = "{voter} has voted on motion {motion}"


class ConsortiumInvalidAddresses(ContractError):
    """Too many addresses, or one that is empty or too long."""

    count: int
    max: int
    says = "{count} is refused: at most {max}"


# -- Study: its life -------------------------------------------------------------------------------------------------


class StudyInvalidTerms(ContractError):
    """A term that the contract refuses."""

    field: str
    says = "the study's term {field} is out of bounds"


class StudyInvalidSpecification(ContractError):
    """A specification that is empty or too long."""

    length: int
    max: int
    says = "a specification of {length} bytes is refused; give 1 to {max} bytes"


class StudyWrongSpecification(ContractError):
    """The answer names another specification than the one proposed."""

    given: bytes
    expected: bytes
    says = "the specification answered is not the one proposed; read the proposal again"


class StudyWrongStatus(ContractError):
    """The study isn't in the state that this needs."""

    study: int
    status: Status
    says = "study {study} is {status.name}"


class StudyAlreadyAnswered(ContractError):
    """The site has answered this proposal."""

    study: int
    site: Address
    says = "{site} has answered study {study}"


class StudyNotParticipant(ContractError):
    """The account takes no part in the study."""

    study: int
    site: Address
    says = "{site} takes no part in study {study}"


class StudyTooFewSites(ContractError):
    """Not enough sites accepted."""

    have: int
    need: int
    says = "{have} sites accepted where {need} are needed"


class StudyTooEarly(ContractError):
    """The deadline hasn't passed yet."""

    until: int
    says = "wait until chain time {until}"


class StudyTooLate(ContractError):
    """The deadline has passed."""

    deadline: int
    says = "the deadline was {deadline}"


class StudyAlreadyVoted(ContractError):
    """The site has voted to abort."""

    study: int
    site: Address
    says = "{site} has voted to abort study {study}"


# -- Study: its rounds -----------------------------------------------------------------------------------------------


class RoundWrongPhase(ContractError):
    """The round isn't in the phase that this needs."""

    study: int
    phase: Phase
    says = "study {study} is in phase {phase.name}"


class RoundWrongNumber(ContractError):
    """Another round is current."""

    given: int
    current: int
    says = "round {given} is not the current one, {current}"


class RoundWrongAttempt(ContractError):
    """Another attempt of the round is current."""

    given: int
    current: int
    says = "attempt {given} is not the current one, {current}"


class RoundWrongTerm(ContractError):
    """Another term of the round is current."""

    given: int
    current: int
    says = "term {given} is not the current one, {current}"


class RoundNotEligible(ContractError):
    """The site takes no part in this round."""

    round: int
    site: Address
    says = "{site} is not eligible for round {round}"


class RoundAlreadyCommitted(ContractError):
    """The site has committed in this round."""

    round: int
    site: Address
    says = "{site} has committed in round {round}"


class RoundNotSealable(ContractError):
    """The round still waits for sites."""

    not_before: int
    says = "the round can't be sealed before chain time {not_before}"


class CommitInvalidBlob(ContractError):
    """The blob hash is zero."""

    says = "the blob hash is zero"


class CommitInvalidWeight(ContractError):
    """The sample weight is zero or over the cap."""

    weight: int
    cap: int
    says = "weight {weight} is refused; the study allows 1 to {cap}"


class CommitEpsilonDecreased(ContractError):
    """The epsilon spent is lower than the one on record."""

    given: int
    spent: int
    says = "epsilon spent {given} is below the {spent} on record (micro-epsilon)"


class CommitEpsilonBudgetExceeded(ContractError):
    """The update would spend more than the study's privacy budget."""

    given: int
    budget: int
    says = "epsilon spent {given} is over the study's budget of {budget} (micro-epsilon); this site must stop training"


class CommitStaleReveal(ContractError):
    """The reveal isn't the preimage of the site's last link."""

    given: bytes
    link: bytes
    says = "the reveal is not the preimage of this site's last link; read the link from the ledger"


class CommitUnknownBlock(ContractError):
    """The block is too old or too new for this chain to know its hash."""

    number: int
    says = "the chain doesn't know the hash of block {number} any more, or yet; sign a newer block"


class CommitOtherHistory(ContractError):
    """The signer saw another history than this chain's."""

    number: int
    seen: bytes
    actual: bytes
    says = "block {number} is another one on this chain than this site saw: history was rewritten. Tell the other sites"


class PublishNotLeader(ContractError):
    """The sender doesn't lead this term."""

    sender: Address
    leader: Address
    says = "{sender} does not lead this term, {leader} does"


class PublishInvalidOutput(ContractError):
    """The output's hash is zero."""

    says = "the output's hash is zero"


class PublishNotCommitted(ContractError):
    """The merged set holds seats that didn't commit."""

    merged: int
    committed: int
    says = "merged {merged:#x} holds seats that are not in committed {committed:#x}"


class PublishTooFewMerged(ContractError):
    """Fewer updates were merged than the study's least."""

    merged: int
    need: int
    says = "{merged} updates merged where {need} are needed"


class PublishInvalidReasons(ContractError):
    """Not one reason for each update left out."""

    length: int
    expected: int
    says = "{length} reasons given where {expected} updates were left out"


class ReviewWrongOutput(ContractError):
    """Another output than the published one."""

    given: bytes
    published: bytes
    says = "the output reviewed is not the one published"


class ReviewAlreadyVoted(ContractError):
    """The site has attested or rejected in this term."""

    round: int
    site: Address
    says = "{site} has voted on the output of round {round}"


class ReviewNotCommitter(ContractError):
    """Only the round's committers review its output."""

    round: int
    site: Address
    says = "{site} did not commit in round {round} and can't review it"
