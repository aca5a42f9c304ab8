"""Start ministack with its differences from AWS that matter here patched away.

Each patch replaces private names, so the version is asserted, and each has its contract test in
`tests/contract/test_emulator_patches.py`. Run as a program (`python -P local/ministack_patches.py`); the
settings are ministack's own environment variables.
"""

# ruff: noqa: SLF001 - replacing private names is what it is for

import asyncio
import contextvars
import hashlib
import importlib.metadata
import io
import json
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, override

import hypercorn.asyncio
import hypercorn.config
import uvicorn
import uvloop
import yaml
from ministack.app import main
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import apigateway_v1, lambda_svc, scheduler, stepfunctions
from ministack.services.cloudformation import provisioners

MINISTACK_VERSION = "1.5.33"

Json = dict[str, Any]

# Extracted layers by their content, and how long one is kept that nobody uses: an emulator may run for days.
_LAYERS = Path(__file__).resolve().parent.parent / ".local-cache" / "layers"
_LAYER_SECONDS = 7 * 86400.0

# The one member of a zip file that stands for a layer: the folder that the layer was extracted into.
_EXTRACTED = "extracted"

# A result with this one key is an exception on its way through ministack's worker protocol.
_RAISED = "__raised__"

# What ministack's own worker does with whatever a handler raised, and what takes its place: AWS tells the class.
_WORKER_REPORTS_AN_ERROR = """\
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()}) + "\\n")
"""  # noqa: E501 - ministack's own line
_WORKER_RETURNS_AWS_ERROR_PAYLOAD = """\
            traceback.print_exc()
            _real_stdout.write(json.dumps({"status": "ok", "result": {"__raised__": {
                "errorMessage": str(e), "errorType": type(e).__name__, "requestId": context.aws_request_id,
                "stackTrace": traceback.format_tb(e.__traceback__)}}}) + "\\n")
"""


def patch_lambda_error_type() -> None:
    """Report an exception of a handler by its class name, and keep the worker that raised it.

    ministack calls every exception `Runtime.HandlerError` and throws the worker away, so no Retry or Catch
    by name ever matches.
    """
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if _WORKER_REPORTS_AN_ERROR not in script:
        msg = "ministack's Python worker is not the one that the patch is for"
        raise RuntimeError(msg)
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_WORKER_REPORTS_AN_ERROR, _WORKER_RETURNS_AWS_ERROR_PAYLOAD)
    execute = lambda_svc._execute_function_warm

    def execute_and_unwrap(func: Json, event: object, request_id: str) -> Json:
        result: Json = execute(func, event, request_id)
        body = result.get("body")
        if isinstance(body, dict) and body.keys() == {_RAISED}:
            return {**result, "body": body[_RAISED], "error": True}
        return result

    lambda_svc._execute_function_warm = execute_and_unwrap


def patch_throttle_name() -> None:
    """Name a throttled invocation `Lambda.TooManyRequestsException`; ministack names it `Lambda.Unknown`."""
    call = stepfunctions._call_lambda

    def call_and_rename(func_ref: str, event: object) -> object:
        try:
            return call(func_ref, event)
        except stepfunctions._ExecutionError as err:
            if err.error == "Lambda.Unknown" and "TooManyRequestsException" in str(err.cause):
                name = "Lambda.TooManyRequestsException"
                raise stepfunctions._ExecutionError(name, err.cause) from None
            raise

    stepfunctions._call_lambda = call_and_rename


def patch_yaml_definitions() -> None:
    """Accept a state machine definition in YAML, as CloudFormation does; ministack stores it as it is.

    Read after the substitutions, as on AWS: `MaxConcurrency: ${CopyConcurrency}` becomes a number.
    """
    read = provisioners._sfn_definition

    def read_as_json(props: Json) -> str:
        return json.dumps(yaml.safe_load(read(props)))

    provisioners._sfn_definition = read_as_json


def patch_nested_failure() -> None:
    """Fail a state that runs another machine with `States.TaskFailed` and a cause that describes that execution.

    ministack lets the child's own error name through, which on AWS never crosses the border.
    """

    def failure(child: Json) -> tuple[str, str]:
        kept = ("executionArn", "input", "name", "startDate", "stateMachineArn", "status", "stopDate", "error", "cause")
        described = {name[0].upper() + name[1:]: child[name] for name in kept if name in child}
        return "States.TaskFailed", json.dumps(described)

    stepfunctions._nested_execution_failure = failure


# The execution whose states the thread runs, and the execution that waits for each nested one.
_current = contextvars.ContextVar("current", default="")
_parent_of: dict[str, str] = {}


def _is_stopped(arn: str) -> bool:
    execution = stepfunctions._executions.get(arn)
    return execution is not None and execution["status"] == "ABORTED"


# The Parallel states that the thread's state is in: each set once a branch of it has failed.
_parallels: contextvars.ContextVar[tuple[threading.Event, ...]] = contextvars.ContextVar("parallels", default=())


def _raise_if_stopped(arn: str) -> None:
    if _is_stopped(arn):
        name = "ExecutionAborted"
        raise stepfunctions._ExecutionError(name, "the execution was stopped")
    if any(parallel.is_set() for parallel in _parallels.get()):
        name = "BranchAborted"
        raise stepfunctions._ExecutionError(name, "another branch failed")


def patch_stop_of_states() -> None:
    """Let no state and no retry start once their execution has been stopped, and leave it ABORTED.

    ministack only marks the execution: the states of a Parallel or a Map and the retries of a task go on, and
    a failure among them turns ABORTED into FAILED.
    """

    def unless_stopped(run_state: Callable[..., object]) -> Callable[..., object]:
        def guarded(state: Json, state_input: object, *rest: Any) -> object:
            # The context is last. Of a distributed Map's child it is a copy of its parent's, which is the
            # execution that can be stopped.
            arn = rest[-1]["Execution"]["Id"]
            _raise_if_stopped(arn)
            _current.set(arn)
            return run_state(state, state_input, *rest)

        return guarded

    for kind in ("pass", "task", "choice", "wait", "parallel", "map"):
        name = f"_execute_{kind}"
        setattr(stepfunctions, name, unless_stopped(getattr(stepfunctions, name)))

    invoke, find_retrier = stepfunctions._invoke_resource, stepfunctions._find_matching_retrier
    fail = stepfunctions._fail_execution

    def invoke_unless_stopped(resource: str, state_input: object) -> object:
        _raise_if_stopped(_current.get())
        return invoke(resource, state_input)

    def find_retrier_unless_stopped(retriers: list[Json], error: str, counts: Json) -> object:
        return (None, -1) if _is_stopped(_current.get()) else find_retrier(retriers, error, counts)

    def fail_unless_stopped(execution: Json, error: str, cause: str) -> None:
        if execution["status"] != "ABORTED":
            fail(execution, error, cause)

    stepfunctions._invoke_resource = invoke_unless_stopped
    stepfunctions._find_matching_retrier = find_retrier_unless_stopped
    stepfunctions._fail_execution = fail_unless_stopped


def patch_stop_of_nested_executions() -> None:
    """Stop the executions that a stopped one waits for, as AWS does; ministack lets them run to their end."""
    run, stop = stepfunctions._run_execution, stepfunctions._stop_execution

    def run_and_remember_parent(arn: str) -> None:
        if stepfunctions._executions[arn].get("sync") and _current.get():
            _parent_of[arn] = _current.get()
        # In a context of its own: when the child has ended, the thread is the parent's again.
        contextvars.copy_context().run(run, arn)

    def stop_with_children(request: Json) -> object:
        answer = stop(request)
        for child, parent in list(_parent_of.items()):
            if parent == request.get("executionArn") and stepfunctions._executions[child]["status"] == "RUNNING":
                stop_with_children({**request, "executionArn": child})
        return answer

    stepfunctions._run_execution = run_and_remember_parent
    stepfunctions._stop_execution = stop_with_children


def patch_failing_branches() -> None:
    """End a Parallel state with the first branch that fails, as AWS does; ministack waits for all the others.

    What function of another branch runs goes on, as there; no further state of that branch begins.
    """

    def run_branches(state: Json, raw_input: object, execution: Json, context: Json) -> object:
        effective = stepfunctions._apply_input_path(state, raw_input, context)
        effective = stepfunctions._apply_parameters(state, effective, context)
        branches = state.get("Branches", [])
        has_failed, ended = threading.Event(), queue.SimpleQueue[int]()
        results: dict[int, object] = {}
        errors: dict[int, Exception] = {}

        def run_branch(number: int) -> None:
            _parallels.set((*_parallels.get(), has_failed))
            states, first = branches[number].get("States", {}), branches[number].get("StartAt")
            try:
                results[number] = stepfunctions._run_sub_machine(states, first, effective, execution, context)
            except stepfunctions._ExecutionError as err:
                errors[number] = err
            finally:
                ended.put(number)

        for number in range(len(branches)):
            # Each in a copy of its own: a context cannot be entered by two threads at a time.
            inside = contextvars.copy_context().run
            threading.Thread(target=inside, args=(run_branch, number), daemon=True).start()
        for _ in branches:
            number = ended.get()
            if number not in results:
                has_failed.set()
                raise errors.get(number) or stepfunctions._ExecutionError("States.Runtime", "a branch broke")
        result = stepfunctions._apply_result_selector(state, [results[number] for number in range(len(branches))])
        output = stepfunctions._apply_result_path(state, raw_input, result)
        return stepfunctions._apply_output_path(state, output, context), stepfunctions._next_or_end(state)

    stepfunctions._run_parallel_branches = run_branches


# `events:source` is the source of the events that are put; ministack never looks at them. Ours is the only one here.
_CONDITION_KEYS = {"aws:securetransport": "true", "events:source": "milvus-vault"}


def patch_condition_keys() -> None:
    """Count every request as one over TLS, and every event that is put as one of ours.

    On AWS all requests are over TLS. Here none is, and the bucket policy that refuses the others would refuse
    everything when policies are enforced; so would the condition on the source of events.
    """
    resolve = iam_evaluator._resolve_condition_key

    def resolve_also(key: str, context: object) -> object:
        return _CONDITION_KEYS.get(key.lower()) or resolve(key, context)

    iam_evaluator._resolve_condition_key = resolve_also


# Headers of a write that are condition keys of their own name; ministack knows them as headers only.
_CONDITIONAL_HEADERS = ("if-none-match", "if-match")


def patch_conditional_write_keys() -> None:
    """Tell policies whether a write has a condition: roles may write a backup's marker only with one."""
    context_of = iam_actions._s3_object_context

    def context_with_conditions(iam_action: str, query: Json, path: str, headers: Json) -> Json:
        context: Json = context_of(iam_action, query, path, headers)
        if iam_action == "s3:PutObject":
            context |= {f"s3:{name}": headers[name] for name in _CONDITIONAL_HEADERS if headers.get(name)}
        return context

    iam_actions._s3_object_context = context_with_conditions


_RIGHTS = "MINISTACK_RIGHTS"
"""The variable that names a file for the rights that roles have given; see local/aws.py."""


def patch_given_rights() -> None:
    """Write down each right by which a role allows a request, once: the role, statement, action, and which resource."""
    path = os.environ.get(_RIGHTS)
    if not path:
        return
    find, written = iam_evaluator._first_match, set[str]()

    def find_and_note(request: Any, statements: list[Any], effect: str) -> Any:
        found = find(request, statements, effect)
        if found is not None and effect == "Allow" and ":assumed-role/" in request.principal_arn:
            role = request.principal_arn.split("/")[1]
            for number, resource in enumerate(found.resources):
                line = f"{role} {found.sid} {request.action} {number}\n"
                if line not in written and iam_evaluator._resource_matches(request.resource_arn, [resource], []):
                    written.add(line)
                    with Path(path).open("a") as file:
                        file.write(line)
        return found

    iam_evaluator._first_match = find_and_note


_is_in_branch = contextvars.ContextVar("is_in_branch", default=False)


def patch_history_of_branches() -> None:
    """Write into an execution's history that a state inside a Parallel or a Map was entered, as AWS does.

    ministack records the states of the outermost level only, so that nobody could tell what a running backup does.
    """
    run_branch = stepfunctions._run_sub_machine

    def run_branch_recorded(*arguments: Any) -> object:
        token = _is_in_branch.set(True)
        try:
            return run_branch(*arguments)
        finally:
            _is_in_branch.reset(token)

    def recorded(run_state: Callable[..., object], kind: str) -> Callable[..., object]:
        def entered(state: Json, state_input: object, *rest: Any) -> object:
            context = rest[-1]
            execution = stepfunctions._executions.get(context["Execution"]["Id"])
            if _is_in_branch.get() and execution is not None:
                details = {"name": context["State"]["Name"], "input": json.dumps(state_input)}
                event = f"{kind.capitalize()}StateEntered"
                stepfunctions._add_event(execution, event, {"stateEnteredEventDetails": details})
            return run_state(state, state_input, *rest)

        return entered

    stepfunctions._run_sub_machine = run_branch_recorded
    for kind in ("pass", "task", "choice", "wait", "parallel", "map"):
        name = f"_execute_{kind}"
        setattr(stepfunctions, name, recorded(getattr(stepfunctions, name), kind))


class _LinkedLayerZip(zipfile.ZipFile):
    """A zip file that, where a layer is to be extracted, makes a link to the layer that it names."""

    @property
    def _is_layer(self) -> bool:
        return Path(self.filename or "").name.startswith("layer_")

    def namelist(self) -> list[str]:
        """Return the names of the members; none of a layer, of which ministack would look each up on the disk."""
        return [] if self._is_layer else super().namelist()

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        """Extract into `path`, or make it a link to where the layer was extracted."""
        if not self._is_layer:
            super().extractall(path, members, pwd)
            return
        target = Path(path)
        target.rmdir()
        target.symlink_to(self.read(_EXTRACTED).decode())


@lru_cache(maxsize=32)
def _link_to_extracted(layer: bytes) -> bytes:
    """Extract a layer, unless an equal one has been on this machine, and return a zip file that names the folder."""
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        content = hashlib.sha256(repr([(info.filename, info.CRC) for info in archive.infolist()]).encode())
        shared = _LAYERS / content.hexdigest()[:16]
        if not shared.exists():
            _LAYERS.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=_LAYERS, ignore_cleanup_errors=True) as folder:
                archive.extractall(folder)
                # Another emulator may have been faster; what is there has the same content.
                with suppress(OSError):
                    Path(folder).rename(shared)
    os.utime(shared)
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        archive.writestr(_EXTRACTED, str(shared))
    return link.getvalue()


def _remove_old_layers() -> None:
    """Remove extracted layers that no emulator has used for a while."""
    for folder in _LAYERS.glob("*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LAYER_SECONDS:
                shutil.rmtree(folder)


def patch_layer_extraction() -> None:
    """Extract each layer once for all workers of all emulators on this machine.

    ministack writes and extracts it for each worker, and looks up each name before: 170 MB and 6,000 files for a
    function that talks to Milvus, which took longer than all else in its cold start, and gigabytes of disk.
    """
    _remove_old_layers()
    resolve = lambda_svc._resolve_layer_zip

    def resolve_extracted(attachment: str | Json) -> bytes | None:
        layer: bytes | None = resolve(attachment)
        return layer and _link_to_extracted(layer)

    lambda_svc._resolve_layer_zip = resolve_extracted
    lambda_runtime.zipfile = types.SimpleNamespace(**vars(zipfile) | {"ZipFile": _LinkedLayerZip})


class _ForkedWorker:
    """A worker that was forked, as far as ministack uses `subprocess.Popen`."""

    def __init__(self, pid: int, handle: int, files: tuple[IO[str], IO[str], IO[str]]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = files
        self._handle = handle

    def __del__(self) -> None:
        os.close(self._handle)

    def poll(self) -> int | None:
        """Return a number where the worker has ended. Nobody asks which."""
        return 0 if select.select([self._handle], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the worker's end."""
        if not select.select([self._handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return 0

    def terminate(self) -> None:
        """Ask the worker to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)


class _Preloaded:
    """A process of `preloaded.py`, which has imported what functions of some layers import."""

    def __init__(self, layers: str, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                [sys.executable, "-P", Path(__file__).with_name("preloaded.py"), str(theirs.fileno()), layers],
                pass_fds=[theirs.fileno()],
                # numpy would start a thread, which a fork does not have.
                env={**environment, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
            )

    def fork(self, request: Json) -> _ForkedWorker | None:
        """Return a worker, or nothing where it would not be like a new process."""
        message = json.dumps(request).encode()
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = pipes
        files = os.fdopen(to_stdin, "w", buffering=1), os.fdopen(from_stdout), os.fdopen(from_stderr)
        try:
            with self._lock:
                socket.send_fds(self._connection, [message], [stdin, stdout, stderr])
                answer, handles, _, _ = socket.recv_fds(self._connection, 64, 1)
        except OSError:
            answer = b""  # too long a message, or the process has ended
        finally:
            for file in (stdin, stdout, stderr):
                os.close(file)
        if answer.isdigit():
            return _ForkedWorker(int(answer), handles[0], files)
        for opened in files:
            opened.close()
        return None


def patch_cold_starts() -> None:
    """Fork workers of functions with layers from a process that has imported what they import, see `preloaded.py`.

    A new process takes a second of processor time for imports, and most runs of a machine need some.
    """
    found: dict[str, _Preloaded] = {}
    lock = threading.Lock()

    def start(command: list[str], *, env: dict[str, str], cwd: str | None = None, **settings: Any) -> object:
        layers = os.pathsep.join(
            os.path.realpath(layer) for layer in env.get("_LAMBDA_LAYERS_DIRS", "").split(os.pathsep) if layer
        )
        if command[0] == sys.executable and layers and cwd:
            with lock:
                process = found.get(layers) or found.setdefault(layers, _Preloaded(layers, env))
            if worker := process.fork({"script": command[1], "folder": cwd, "environment": env}):
                return worker
        return subprocess.Popen(command, env=env, cwd=cwd, **settings)

    lambda_runtime.subprocess = types.SimpleNamespace(**vars(subprocess) | {"Popen": start})


def patch_any_method() -> None:
    """Import `x-amazon-apigateway-any-method`, which is how SAM writes an event with the method ANY.

    ministack leaves it out, so that such an API has no route at all.
    """
    import_item = apigateway_v1._import_path_item

    def import_item_with_any(api_id: str, path: str, path_item: Json, *security: Any) -> None:
        import_item(api_id, path, path_item, *security)
        if operation := path_item.get("x-amazon-apigateway-any-method"):
            resources = apigateway_v1._resources[api_id]
            (resource,) = (name for name, found in resources.items() if found.get("path") == path)
            apigateway_v1._import_operation(api_id, resource, "ANY", operation, *security)

    apigateway_v1._import_path_item = import_item_with_any


def patch_schedule_groups() -> None:
    """Check requests about a schedule against policies under the ARN that it has; ministack takes the default group.

    Create a stack's schedule in its time zone, too, which ministack leaves out.
    """
    extract = iam_actions.extract_resource_arn

    def extract_with_group(
        service: str, method: str, path: str, headers: Json, body: bytes, query: Json, *rest: Any
    ) -> str:
        arn: str = extract(service, method, path, headers, body, query, *rest)
        if service != "scheduler" or ":schedule/default/" not in arn:
            return arn
        given = query.get("groupName") or (json.loads(body).get("GroupName") if body else None) or "default"
        return arn.replace(":schedule/default/", f":schedule/{given[0] if isinstance(given, list) else given}/")

    iam_actions.extract_resource_arn = extract_with_group
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    create = handlers["create"]

    def create_in_zone(logical_id: str, props: Json, stack_name: str) -> tuple[str, Json]:
        name, attributes = create(logical_id, props, stack_name)
        stored = scheduler._schedules[f"{props.get('GroupName', 'default')}/{name}"]
        stored["ScheduleExpressionTimezone"] = props.get("ScheduleExpressionTimezone", "UTC")
        return name, attributes

    handlers["create"] = create_in_zone


class _Server(uvicorn.Server):
    """Ends at once when it is told to, as ministack does: runs and connections that are open are of no use."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sys.exit)
        yield


def patch_http_server() -> None:
    """Serve HTTP by uvicorn, whose parser and loop are in C.

    ministack's Hypercorn has both in Python: 1,050 small requests to S3 took 2.9 s of processor time, and take 1.9.
    """
    module: Any = hypercorn.asyncio

    async def serve(app: Any, config: hypercorn.config.Config) -> None:
        host, _, port = config.bind[0].rpartition(":")
        kept = int(config.keep_alive_timeout)
        settings = uvicorn.Config(
            app, host, int(port), http="httptools", access_log=False, log_level="warning", timeout_keep_alive=kept
        )
        await _Server(settings).serve()

    module.serve = serve


def apply() -> None:
    """Apply all patches. Raises `RuntimeError` for another version of ministack."""
    found = importlib.metadata.version("ministack")
    if found != MINISTACK_VERSION:
        msg = f"the patches are for ministack {MINISTACK_VERSION}, not {found}"
        raise RuntimeError(msg)
    patch_lambda_error_type()
    patch_throttle_name()
    patch_yaml_definitions()
    patch_nested_failure()
    patch_stop_of_states()
    patch_stop_of_nested_executions()
    patch_failing_branches()
    patch_condition_keys()
    patch_conditional_write_keys()
    patch_given_rights()
    patch_layer_extraction()
    patch_cold_starts()
    patch_any_method()
    patch_history_of_branches()
    patch_schedule_groups()
    patch_http_server()


if __name__ == "__main__":
    apply()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    main()
