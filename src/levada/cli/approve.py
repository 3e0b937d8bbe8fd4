"""`levada approve`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared


@declared("approve")
@click.argument("plan", metavar="PLAN")
def command(invocation: Invocation, plan: str) -> int:
    """Let a plan pass that a guard stopped: this one, by its content, for 24 hours.

    PLAN is the id that `levada plan` or a stopped run printed, such as customers_to_crm@0123456789ab. If the
    model has moved on since, the id is another, and the approval is refused.
    """
    terminal = invocation.terminal
    with invocation.open() as project:
        approval = project.approve(plan)
    if terminal.json:
        terminal.document(
            {
                "plan_id": approval.plan_id,
                "sync": approval.sync,
                "approved_by": approval.approved_by,
                "approved_at": approval.approved_at,
                "expires_at": approval.expires_at,
            }
        )
        return 0
    terminal.line(f"approved {approval.plan_id} until {approval.expires_at[:16].replace('T', ' ')} UTC")
    terminal.hint("the command that was stopped sends it now, if nothing has changed by then")
    return 0
