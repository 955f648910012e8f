"""What the column names of a report mean, in a sentence each, for whoever points at one."""

from __future__ import annotations

MEANINGS = {
    "alpha spent": "How much of the chance of a false promotion the looks so far have used up.",
    "anytime p": "A p-value that holds at every look at once, however often one looks.",
    "carried over": "Units that came back in a later epoch: not counted there.",
    "confidence sequence": "An interval that holds at every look at once: it may be read every day.",
    "contaminated": "Units seen in several variants: removed from every result.",
    "corrected p": "The p-value after the correction for the tests that belong together.",
    "credible interval": "Where the lift is with the stated probability, given the prior and the data.",
    "effect": "Variant minus control, in the metric's own unit.",
    "expected": "What the intended allocation gives for as many units.",
    "exposures": "How often units met the treatment.",
    "fallbacks": "Exposures at which control answered because the variant's model failed.",
    "finding": "What the comparison shows under the rule, in a word.",
    "fixed interval": "Valid for one look that was planned, not for looking every day.",
    "fixed p": "Valid for one look that was planned, not for looking every day.",
    "headline interval": "The interval that the rule's design decides by.",
    "lift": "The effect as a share of control's value.",
    "lift interval": "The interval of the lift, by the same test as the p-value beside it.",
    "loss if chosen": "What choosing the variant now gives up on average, as a share of control.",
    "loss if control is kept": "What keeping control now gives up on average, as a share of control.",
    "margin": "The loss of a guardrail that the rule still allows.",
    "needed": "Units it takes to see the smallest effect worth knowing with the planned power.",
    "observed": "Units counted in each variant.",
    "pooled": "All segments added up as if they were one: shown, never used for the verdict.",
    "probability better": "That the variant is better than control, given the prior and the data.",
    "shrunken": "The effect drawn towards that of all segments: the one to rank segments by.",
    "stratified": "Effects within each segment and epoch, weighted: what the verdict uses.",
    "unexplained": "Exposures served another variant than the assigned one, without a cause on record.",
    "units a day": "New units on an average day, at the present pace.",
    "visible effect": "The smallest lift that as many units as now can show with the planned power.",
    "weeks left": "Until the units needed have come, at the present pace; a range where the pace varies.",
    "worst loss": "The largest loss that the data do not exclude.",
}
"""By the name of the column."""


def meaning(column: str) -> str:
    """What a column name means, empty for one that says it itself."""
    return MEANINGS.get(column, "")
