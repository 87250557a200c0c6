"""State, secrets, interruptions, refresh and previews: what must hold whatever happens to a run."""

import json
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.engine import BadInput, EngineError, Terminal
from rehearsal.engine.secrets import Crypter, Redactor
from rehearsal.engine.state import State, lock
from rehearsal.engine.values import keep_ignored, parse_path
from tests.unit.test_engine_toys import PASSPHRASE, SALT, World, ops, step

CANARY = "canary-5f1e9c"
SECRETS = f"""
s = pulumi.Output.secret("{CANARY}")
a = Toy("a", password=s, size=1, connection={{"host": "h", "key": s}})
b = Toy("b", fixed=a.out, copied=s)
pulumi.export("nested", {{"open": 1, "closed": s}})
pulumi.export("password", s)
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Killed(Exception):  # noqa: N818 - an event
    """Stands for SIGKILL: nothing is written any more. An Exception, as the SDK waits for ever after others."""


def kill_at(monkeypatch: pytest.MonkeyPatch, write: int) -> Callable[[], int]:
    """Let the n-th write of the state, and every later one, never happen."""
    real, count = State.write, [0]

    def dying(self: State, text: str) -> None:
        count[0] += 1
        if count[0] > write:
            raise Killed
        real(self, text)

    monkeypatch.setattr(State, "write", dying)
    return lambda: count[0]


BEFORE = """
a = Toy("a", fixed=1)
b = Toy("b", O(delete_before_replace=True), fixed=a.out)
c = Toy("c", fixed=b.out)
gone = Toy("gone")
"""
AFTER = BEFORE.replace("fixed=1", "fixed=2").replace('gone = Toy("gone")', 'Toy("e", size=1)')


@pytest.mark.parametrize("start", ["", BEFORE])
def test_a_run_killed_at_any_write_converges_without_duplicates(
    world: World, monkeypatch: pytest.MonkeyPatch, start: str, tmp_path: Path
) -> None:
    """Whatever was made and not recorded is found by its mark; whatever was deleted and not recorded is gone."""
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder)
        if start:
            world.up(start)
        with monkeypatch.context() as patch:
            kill_at(patch, number)
            try:
                finished = world.up(AFTER if start else BEFORE).exit_code == 0
            except Killed:
                finished = False
        summary = world.up()
        assert summary.failures == ()
        assert world.names() == (["a", "b", "c", "e"] if start else ["a", "b", "c", "gone"]), number
        assert not world.up().changed
        assert not world.state().pending
        assert {r.id for r in world.state().resources.values() if r.id} == set(world.toys.objects)
        if finished:
            assert number > 4
            return
    pytest.fail("the run never got through")


def test_a_destroy_killed_at_any_write_can_be_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It ends with nothing left, in the cloud and in the state."""
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder)
        world.up(BEFORE)
        with monkeypatch.context() as patch:
            kill_at(patch, number)
            try:
                finished = world.engine().destroy().exit_code == 0
            except Killed:
                finished = False
        assert world.engine().destroy().exit_code == 0
        assert (world.names(), world.state().resources) == ([], {})
        if finished:
            return
    pytest.fail("the run never got through")


def test_an_operation_is_recorded_before_it_begins(world: World) -> None:
    """Otherwise a kill during a create would leave what nobody knows of."""
    seen: list[str] = []
    create = world.toys.create

    def watched(call, news):  # type: ignore[no-untyped-def]
        seen.extend(p.op for p in world.state().pending.values())
        return create(call, news)

    world.toys.create = watched  # type: ignore[method-assign]
    world.up('Toy("a")\n')
    assert seen == ["create"]


def test_what_a_failed_create_left_is_removed_by_the_next_run(world: World) -> None:
    """A server in ERROR is not adopted as a good one."""
    create = world.toys.create

    def half(call, news):  # type: ignore[no-untyped-def]
        create(call, news)
        raise TimeoutError("it did not become ACTIVE")

    world.toys.create = half  # type: ignore[method-assign]
    assert world.up('Toy("a")\n').failures[0].cause == "TimeoutError: it did not become ACTIVE"
    world.toys.create = create  # type: ignore[method-assign]
    assert ops(world.up()) == {"a": "create"}
    assert list(world.toys.objects) == ["a-2"]


def test_ctrl_c_ends_the_waits_and_leaves_a_consistent_state(world: World) -> None:
    """Exit code 130; nothing new starts; the next run goes on."""
    create = world.toys.create

    def interrupted(call, news):  # type: ignore[no-untyped-def]
        os.kill(os.getpid(), signal.SIGINT)
        assert call.cancel.wait(5)
        return create(call, news)

    world.toys.create = interrupted  # type: ignore[method-assign]
    summary = world.up('a = Toy("a")\nToy("b", of=a.out)\n')
    assert (summary.exit_code, world.names()) == (130, ["a"])
    world.toys.create = create  # type: ignore[method-assign]
    assert ops(world.up()) == {"a": "same", "b": "create"}


def test_secrets_are_encrypted_at_rest_and_hidden_everywhere_else(world: World, tmp_path: Path) -> None:
    """State, temporary files, summaries, display and errors."""
    output = (tmp_path / "display").open("w+")
    world.display = Terminal(Console(file=output, width=200))
    first = world.up(SECRETS)
    assert first.outputs == {"nested": {"open": 1, "closed": "[secret]"}, "password": "[secret]"}
    later = world.up(SECRETS.replace(CANARY, f"{CANARY}-2").replace("size=1", "size=2"))
    failed = world.up(SECRETS + 'Toy("c", broken=s)\n')
    assert failed.failures[0].cause == "broken: [secret]"
    output.seek(0)
    shown = output.read() + json.dumps([s.to_json() for s in (first, later, failed)])
    assert "password: [secret] => [secret]" in shown
    assert "size: 1 => 2" in shown
    for text in (shown, *(path.read_text() for path in world.root.stacks.iterdir())):
        assert CANARY not in text
    assert next(iter(world.toys.objects.values()))["password"].startswith(CANARY)
    assert world.engine().outputs(show_secrets=True)["nested"]["closed"] == f"{CANARY}-2"
    assert world.engine().outputs()["password"] == "[secret]"


def test_the_state_is_readable_by_its_owner_only(world: World) -> None:
    """It has encrypted secrets, and facts about machines."""
    world.up(SECRETS)
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.root.stacks.stat().st_mode) == 0o700


def test_a_wrong_passphrase_is_one_clear_sentence(world: World) -> None:
    """It names the file and the variable, and nothing is touched."""
    world.up(SECRETS)
    before = world.path.read_text()
    with pytest.raises(BadInput, match=r"dev.json: wrong passphrase; set PULUMI_CONFIG_PASSPHRASE") as raised:
        world.engine("wrong").up()
    assert (raised.value.exit_code, world.path.read_text()) == (2, before)


def test_secure_configuration_reaches_the_program_as_a_secret(world: World) -> None:
    """`secure:` values, plain ones and structures arrive as the CLI passes them."""
    sealed = Crypter(PASSPHRASE, SALT, "test").encrypt(CANARY)
    world.config.write_text(
        f"encryptionsalt: {SALT}\nconfig:\n  p:token: {{secure: '{sealed}'}}\n  p:on: true\n  p:n: 3\n"
        f"  p:tree: {{list: [1, {{secure: '{sealed}'}}]}}\n"
    )
    world.up(
        'c = pulumi.Config()\nToy("a", on=c.require_bool("on"), n=c.require_int("n"))\n'
        'pulumi.export("token", c.require_secret("token"))\npulumi.export("tree", c.require_secret_object("tree"))\n'
    )
    assert world.engine().outputs(show_secrets=True) == {"token": CANARY, "tree": {"list": [1, CANARY]}}
    assert CANARY not in world.path.read_text()
    world.config.write_text("config: {p:token: {secure: 'v1:AAAA:AAAA'}}\n")
    with pytest.raises(BadInput, match="no `encryptionsalt`"):
        world.up()


def test_a_second_run_on_a_locked_stack_is_refused_and_a_dead_holder_is_not_waited_for(world: World) -> None:
    """The error names the process; the kernel drops the lock of one that died."""
    path = world.root.stacks / "dev.lock"
    with lock(path), pytest.raises(EngineError, match=f"held by process {os.getpid()}"):
        world.up("")
    path.write_text("999999 1\n")
    notices: list[str] = []
    world.display.notice = notices.append
    world.up("")
    assert notices == ["took over the lock of process 999999, which ended without releasing it"]


def test_a_preview_writes_nothing_and_shows_what_is_unknown(world: World) -> None:
    """Ids and computed outputs of what will be made are unknown; functions still run."""
    text = 'n = pulumi.runtime.invoke("toy:index:double", {"value": 2}).value["result"]\n'
    text += 'a = Toy("a", fixed=n)\nb = Toy("b", fixed=a.out, n=n)\n'
    plan = world.program(text).engine().preview()
    assert (ops(plan), world.toys.log, world.root.path.exists()) == ({"a": "create", "b": "create"}, [], False)
    world.up(text)
    before = world.path.read_text()
    plan = world.program(text.replace("fixed=n", "fixed=n + 1")).engine().preview()
    assert ops(plan) == {"a": "replace", "b": "replace"}
    change = step(plan.steps, "b").changes[0]
    assert (change.path, change.old, change.new) == ("fixed", '"out of a-1"', "[unknown]")
    assert (world.path.read_text(), world.toys.log) == (before, ["create a", "create b"])
    plan = world.program("").engine().preview()
    assert plan.to_json()["counts"]["delete"] == 2


def test_a_preview_of_a_cascade_shows_every_replacement(world: World) -> None:
    """What a reviewer reads is what up does."""
    world.up(BEFORE)
    plan = world.program(AFTER).engine().preview()
    planned = {(s.name, s.op) for s in plan.steps}
    assert planned == {(s.name, s.op) for s in world.up().steps}


def test_a_vanished_resource_is_made_again_after_a_refresh(world: World) -> None:
    """`options: refresh: always` in Pulumi.yaml makes up look first; its dependents follow."""
    world.up('a = Toy("a")\nb = Toy("b", of=a.out)\n')
    del world.toys.objects["a-1"]
    assert ops(world.up()) == {"a": "same", "b": "same"}
    (world.folder / "Pulumi.yaml").write_text("name: p\noptions: {refresh: always}\n")
    assert ops(world.engine().preview()) == {"a": "same", "b": "same"}
    assert ops(world.engine().preview(refresh=True)) == {"a": "create", "b": "update"}
    assert ops(world.up()) == {"a": "create", "b": "update"}


def test_a_refresh_records_what_changed_behind_the_stack(world: World) -> None:
    """The next up puts it back."""
    world.up('Toy("a", size=1)\n')
    world.toys.objects["a-1"]["size"] = 5
    summary = world.engine().refresh()
    assert [(c.path, c.old, c.new) for c in step(summary.steps, "a").changes] == [("size", "1", "5")]
    assert ops(world.up()) == {"a": "update"}
    assert not world.engine().refresh().steps


DYNAMIC = """
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult
from pathlib import Path

class P(ResourceProvider):
    def diff(self, id_, olds, news):
        changed = [k for k in ("kind", "hours") if olds.get(k) != news.get(k)]
        return DiffResult(bool(changed), [k for k in changed if k == "kind"], delete_before_replace=True)
    def create(self, props):
        Path("lease").write_text(props["kind"])
        return CreateResult("lease-1", {**props, "flavor": f"f-{props['hours']}"})
    def read(self, id_, props):
        return ReadResult(id_ if Path("lease").exists() else "", props)
    def update(self, id_, olds, news):
        return UpdateResult({**news, "flavor": f"f-{news['hours']}"})
    def delete(self, id_, props):
        Path("lease").unlink()

class Lease(Resource):
    flavor: pulumi.Output[str]
    def __init__(self, name, **props):
        super().__init__(P(), name, {**props, "flavor": None})

lease = Lease("lease", kind="gpu", hours=3)
Toy("a", fixed=lease.flavor)
"""


def test_a_dynamic_resource_goes_through_all_its_verbs(world: World) -> None:
    """Numbers reach the class as floats, as under the real engine; deletion needs no program."""
    assert ops(world.up(DYNAMIC)) == {"lease": "create", "a": "create"}
    assert world.toys.objects["a-1"]["fixed"] == "f-3.0"
    assert ops(world.up()) == {"lease": "same", "a": "same"}
    assert ops(world.up(DYNAMIC.replace("hours=3", "hours=4"))) == {"lease": "update", "a": "replace"}
    assert ops(world.up(DYNAMIC.replace('"gpu"', '"host"')))["lease"] == "replace"
    assert ops(world.program(DYNAMIC).engine().preview()) == {"lease": "replace", "a": "replace"}
    (world.folder / "lease").unlink()
    assert ops(world.up(DYNAMIC.replace('"gpu"', '"host"'), refresh=True))["lease"] == "create"
    assert world.engine().destroy().exit_code == 0
    assert not (world.folder / "lease").exists()
    assert world.names() == []


def test_an_error_of_the_program_reaches_the_caller_and_what_was_done_is_kept(world: World) -> None:
    """The command line decides how to show it; RunError is meant for people."""
    for text, kind in (('raise pulumi.RunError("stop")', "RunError"), ('raise KeyError("k")', "KeyError")):
        with pytest.raises(Exception, match=r"stop|k") as raised:
            world.up(f'Toy("a")\n{text}\n')
        assert raised.typename == kind
    assert world.up('Toy("a")\n').failures == ()


def test_garbage_collection_is_on_again_after_a_program_that_turns_it_off(world: World) -> None:
    """Large graphs build faster without it; the run after it must not leak."""
    import gc  # noqa: PLC0415 - only here

    world.up("import gc\ngc.disable()\n")
    assert gc.isenabled()


def test_the_display_is_plain_lines_without_a_terminal(world: World, tmp_path: Path) -> None:
    """For logs and pull requests."""
    output = (tmp_path / "display").open("w+")
    world.display = Terminal(Console(file=output, width=200))
    world.up('Toy("a", fixed=1)\npulumi.log.warn("careful")\n')
    world.up('Toy("a", fixed="x" * 100)\n')
    output.seek(0)
    lines = output.read().splitlines()
    assert " + create  toy:index:Toy a" in lines
    assert " * careful" in lines
    assert "+- replace toy:index:Toy a" in lines
    assert f'       fixed: 1 => "{"x" * 59}... (102 characters)' in lines
    assert "       because fixed cannot be changed in place" in lines


def test_many_writers_share_writes(tmp_path: Path) -> None:
    """A thousand resources do not mean thousands of large files one after another."""
    state = State(tmp_path / "s.json", PASSPHRASE, SALT)
    writes, real = [0], state.write

    def counted(text: str) -> None:
        writes[0] += 1
        real(text)

    state.write = counted  # type: ignore[method-assign]

    def work() -> None:
        for _ in range(20):
            with state.edit():
                pass

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writes[0] < 200


def test_ignored_paths_reach_into_lists_and_maps() -> None:
    """As `ignoreChanges` is documented: a.b, a[0], a["b"], a[*]."""
    old = {"a": {"b": 1, "c": 2}, "l": [{"x": 1}, {"x": 2}], "gone": 1}
    new = {"a": {"b": 9, "c": 9}, "l": [{"x": 9}, {"x": 9}, {"x": 9}], "added": 1}
    for path in ("a.b", "l[*].x", '["gone"]', "added"):
        new = keep_ignored(old, new, parse_path(path))
    assert new == {"a": {"b": 1, "c": 9}, "l": [{"x": 1}, {"x": 2}, {"x": 9}], "gone": 1}


def test_errors_hide_a_connection_s_key_and_say_its_host() -> None:
    """A connection is a secret as a whole; where a command failed is no secret, and the first thing to know."""
    redact = Redactor()
    redact.learn({"host": "203.0.113.7", "user": "operator", "privateKey": "the key of everything"})
    assert redact("203.0.113.7 refused the key of everything") == "203.0.113.7 refused [secret]"


def test_only_a_connection_s_host_and_user_are_no_secret() -> None:
    """Other secrets have parts of these names too: a kubeconfig's user holds the key."""
    redact = Redactor()
    redact.learn({"user": {"token": "token of the user"}, "host": "internal.example"})
    assert redact("internal.example: token of the user") == "[secret]: [secret]"
