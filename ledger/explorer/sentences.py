"""One sentence for each kind of event, for people."""

from markupsafe import Markup

from ledger import events as e
from ledger.api.telling import Teller
from ledger.api.wording import FAULTS, objection
from ledger.explorer.words import legible, plural, said, site_link
from ledger.types import Address, MotionKind, MotionState


def sentence(teller: Teller, event: e.Event) -> Markup:
    """Say what happened."""

    def who(account: Address) -> Markup:
        return site_link(teller.site(account))

    def motion(number: int) -> Markup:
        found = teller.snapshot.state.consortium.motions.get(number)
        if found is None:
            return Markup("motion {}").format(number)
        about = "admitting" if found.kind is MotionKind.ADMIT else "removing"
        subject = said(found.text) if found.kind is MotionKind.ADMIT else who(found.subject)
        return Markup("{} {}").format(about, subject)

    match event:
        case e.ConsortiumFounded():
            return Markup("The consortium was founded: {:g} % of the members decide.").format(event.quorum_bps / 100)
        case e.SiteAdmitted():
            return Markup("{} became a member.").format(who(event.site))
        case e.SiteLeft():
            return Markup("{} left the consortium.").format(who(event.site))
        case e.SiteRemoved():
            return Markup("{} was removed by the members.").format(who(event.site))
        case e.AddressesPublished():
            return Markup("{} said where it can be reached.").format(who(event.site))
        case e.MotionOpened(kind=MotionKind.ADMIT):
            return Markup("{} asked to become a member.").format(said(event.text))
        case e.MotionOpened():
            moved = Markup("{} moved to remove {}: &ldquo;{}&rdquo;")
            return moved.format(who(event.opener), who(event.subject), said(event.text))
        case e.VoteCast():
            choice = "for" if event.approve else "against"
            return Markup("{} voted {} {}.").format(who(event.voter), choice, motion(event.motion))
        case e.MotionClosed():
            outcome = MotionState(event.state).name.lower()
            return Markup("The vote on {} ended: {}.").format(motion(event.motion), outcome)
        case e.StudyEvent():
            return _of_study(teller, event)
    return Markup("{}").format(legible(type(event).__name__))


def _of_study(teller: Teller, event: e.StudyEvent) -> Markup:
    def who(account: Address) -> Markup:
        return site_link(teller.site(account))

    link = Markup('<a href="/studies/{1}">{0} {1}</a>')
    study, capital = (link.format(word, event.study) for word in ("study", "Study"))
    match event:
        case e.StudyProposed():
            return Markup("{} proposed {}.").format(who(event.proposer), study)
        case e.StudyAccepted():
            return Markup("{} accepted {}, from round {} on.").format(who(event.site), study, event.from_round)
        case e.StudyDeclined():
            return Markup("{} declined {}.").format(who(event.site), study)
        case e.StudyStarted():
            sites = plural(event.participants.bit_count(), "site")
            return Markup("{} started with {}.").format(capital, sites)
        case e.SiteWithdrew():
            return Markup("{} withdrew from {}.").format(who(event.site), study)
        case e.AbortVoted():
            return Markup("{} voted to end {}.").format(who(event.site), study)
        case e.StudyAborted():
            return Markup("{} ended without a final model: {}.").format(capital, event.reason.name.lower())
        case e.StudyFinished():
            return Markup("{} is finished: its model is final.").format(capital)
        case e.RoundEvent():
            return _of_round(teller, event)
    return Markup("{}").format(legible(type(event).__name__))


def _of_round(teller: Teller, event: e.RoundEvent) -> Markup:
    def who(account: Address) -> Markup:
        return site_link(teller.site(account))

    link = Markup('<a href="/studies/{1}/rounds/{2}">{0} {2}</a> of study {1}')
    where, capital = (link.format(word, event.study, event.round) for word in ("round", "Round"))
    match event:
        case e.RoundOpened():
            return Markup("{} opened for {}.").format(capital, plural(event.eligible.bit_count(), "site"))
        case e.UpdateCommitted():
            weight = plural(event.commitment.weight, "training record")
            return Markup("{} committed its update for {}, of {}.").format(who(event.site), where, weight)
        case e.RoundExtended():
            return Markup("{} waits longer: too few sites had committed.").format(capital)
        case e.RoundSealed():
            return Markup("The inputs of {} are settled: {}.").format(
                where, plural(event.committed.bit_count(), "update")
            )
        case e.LeaderElected():
            return Markup("{} was drawn to lead {}.").format(who(event.leader), where)
        case e.ModelPublished():
            out = f", and left out {len(event.reasons)}" if event.reasons else ""
            merged = plural(event.merged.bit_count(), "update")
            return Markup("{} merged {} of {}{}.").format(who(event.leader), merged, where, out)
        case e.OutputAttested():
            return Markup("{} recomputed the output of {}, and attests to it.").format(who(event.site), where)
        case e.OutputRejected():
            return Markup("{} rejects the output of {}: {}.").format(who(event.site), where, objection(event.reason))
        case e.CommitsVoided():
            return Markup("Commits for {} were voided with the output that they were made on.").format(where)
        case e.LeaderFailed():
            return Markup("{} failed to lead {}: {}.").format(who(event.leader), where, FAULTS[event.fault])
        case e.RoundRetried():
            return Markup("{} collects anew: every leader had failed.").format(capital)
        case e.RoundFinalised():
            return Markup("{} is final: {} attested.").format(capital, plural(event.attested.bit_count(), "site"))
    return Markup("{}").format(legible(type(event).__name__))
