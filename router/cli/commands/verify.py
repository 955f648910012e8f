"""verify: the log folded again must give the live moments, to the last integer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from switchpoint.router.cli.context import Context, json_option, pass_context, print_json
from switchpoint.router.cli.failure import Exit

if TYPE_CHECKING:
    from switchpoint.experiment.ledger.verify import Mismatch


@click.command()
@json_option
@pass_context
@click.pass_context
def verify(ctx: click.Context, context: Context, *, as_json: bool) -> None:
    """Fold the event log with the reference fold and compare it with the live moments.

    Names every cell that differs, and where a unit's record differs from the log, the unit and its first
    event. Also checks the audit chain of the records, that the store is the one this data directory knows,
    and the model files of this directory by their digests. Exit code 1 on any difference.

    \b
    Example:
      switchpoint verify
    """
    from switchpoint.experiment.ledger.verify import verify as compare
    from switchpoint.experiment.registry.records import check
    from switchpoint.experiment.store.artifacts import check_files

    if context.contradiction is not None:
        # an empty ledger folds to empty moments: that proves nothing about a store that went back
        if as_json:
            print_json({"store": context.contradiction, "same": False})
        else:
            click.echo(context.contradiction)
        ctx.exit(Exit.RULE_SAYS_NO)
    differences = compare(context.ledger, context.catalog.plan())
    broken = check(context.records)
    files = check_files(context.artifacts, context.catalog.models())
    events = sum(1 for _ in context.ledger.events())
    if as_json:
        print_json({
            "events": events,
            "ledger": [_document(d) for d in differences],
            "records": broken,
            "models": files,
            "same": not (differences or broken or files),
        })  # fmt: skip
    else:
        for difference in (*(d.problem for d in differences), *broken, *files):
            click.echo(difference)
        if not differences:
            click.echo(f"the log of {events:,} events folds to the live moments, integer for integer")
        if not broken:
            click.echo("the audit chain holds and the records agree with it")
        if not files:
            click.echo("the model files are what their digests say")
    if differences or broken or files:
        ctx.exit(Exit.RULE_SAYS_NO)


def _document(difference: Mismatch) -> dict[str, object]:
    from switchpoint.experiment.ledger.codec import to_document

    first = difference.first_event
    return {
        "problem": difference.problem,
        "experiment": difference.experiment,
        "cell": difference.cell._asdict() if difference.cell else None,
        "unit": difference.unit,
        "first_event": to_document(first) if first else None,
    }
