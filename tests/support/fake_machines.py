"""Step Functions in memory: executions that somebody else ends."""

from datetime import datetime, timedelta

from milvus_vault.errors import RunNotFoundError
from milvus_vault.model.executions import ExecutionDescription, ExecutionPage, ExecutionSummary, StartedExecution
from milvus_vault.runs.machines import KINDS, Machines


class FakeMachines:
    """The port `StateMachines`."""

    def __init__(self) -> None:
        self.found: dict[str, ExecutionDescription] = {}
        self.now = datetime.fromisoformat("2026-11-22T03:00:00Z")
        self.described = 0

    def add(
        self,
        kind: str,
        name: str,
        started_at: datetime,
        status: str = "SUCCEEDED",
        error: str = "",
        given: str = "{}",
        cause: str = "",
        *,
        seconds: float = 0,
        output: str | None = None,
    ) -> None:
        """Put an execution there, which took so long if it has ended."""
        arn = f"{machine_arn(kind).replace(':stateMachine:', ':execution:')}:{name}"
        self.found[arn] = ExecutionDescription(
            arn=arn,
            name=name,
            status=status,
            started_at=started_at,
            ended_at=None if status == "RUNNING" else started_at + timedelta(seconds=seconds),
            input_json=given,
            output_json=output,
            error=error,
            cause=cause,
        )

    def start(self, machine_arn: str, name: str, request_json: str) -> StartedExecution | None:
        """Start an execution that never ends."""
        kind = machine_arn.rpartition("-")[2]
        arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        if arn in self.found:
            return None
        self.add(kind, name, self.now, "RUNNING")
        self.found[arn] = self.found[arn].model_copy(update={"input_json": request_json})
        return StartedExecution(arn=arn, started_at=self.now)

    def describe(self, execution_arn: str) -> ExecutionDescription:
        """Return an execution."""
        self.described += 1
        if execution_arn not in self.found:
            raise RunNotFoundError(execution_arn)
        return self.found[execution_arn]

    def list_executions(self, machine_arn: str, *, status: str | None, limit: int, token: str | None) -> ExecutionPage:
        """Return executions, newest first; a token is the start of the last one."""
        prefix = machine_arn.replace(":stateMachine:", ":execution:") + ":"
        all_of_it = [e for arn, e in self.found.items() if arn.startswith(prefix) and status in {None, e.status}]
        newest_first = sorted(all_of_it, key=lambda e: e.started_at, reverse=True)
        left = [e for e in newest_first if token is None or e.started_at.isoformat() < token]
        page = [ExecutionSummary(**{f: getattr(e, f) for f in ExecutionSummary.model_fields}) for e in left[:limit]]
        return ExecutionPage(
            executions=tuple(page), next_token=page[-1].started_at.isoformat() if len(left) > limit else None
        )

    def stop(self, execution_arn: str, cause: str) -> None:
        """Stop an execution."""
        update = {"status": "ABORTED", "ended_at": self.now, "cause": cause}
        self.found[execution_arn] = self.found[execution_arn].model_copy(update=update)

    def last_state(self, execution_arn: str) -> str:
        """Return no state."""
        return "" if execution_arn in self.found else execution_arn


def machine_arn(kind: str) -> str:
    """Return the ARN of the machine for a kind of run."""
    return f"arn:aws:states:us-east-1:000000000000:stateMachine:vault-{kind}"


def machines(states: FakeMachines) -> Machines:
    """Return the machines of all kinds."""
    return Machines(states, {kind: machine_arn(kind) for kind in KINDS})
