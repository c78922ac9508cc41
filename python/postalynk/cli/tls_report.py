"""``postalynk tls-report``: what TLS sessions came to, as the receivers' domains will be told."""

from cyclopts import App

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, table
from postalynk.service.operations import ask

tls_report = App(name="tls-report", help="What TLS sessions came to, by domain and policy.")
app.command(tls_report)


@tls_report.default
def show(*, days_ago: int = 0, common: Common = COMMON) -> None:
    """The reports of a day (UTC; RFC 8460), by default today's so far; three days are kept."""
    reports = ask(common.settings(), "tls_reports", days_ago=days_ago)
    if common.json:
        emit_json(reports)
        return
    rows = []
    for report in reports:
        for policy in report["policies"]:
            summary = policy["summary"]
            kinds = {detail["result-type"] for detail in policy.get("failure-details", [])}
            rows.append(
                {
                    "domain": policy["policy"]["policy-domain"],
                    "policy": policy["policy"]["policy-type"],
                    "met": summary["total-successful-session-count"],
                    "failed": summary["total-failure-session-count"],
                    "because": ", ".join(sorted(kinds)),
                }
            )
    table(rows, ["domain", "policy", "met", "failed", "because"], empty="No TLS sessions.")
