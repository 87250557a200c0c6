"""What the engine decides for each resource, as Pulumi documents it."""

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.engine import BadInput
from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unfinished, Untouched
from tests.unit.test_engine_toys import SALT, Toys, World, ops, step, urn


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


CHAIN = """
a = Toy("a", size=1)
b = Toy("b", of=a.out)
pulumi.export("b", b.out)
"""


def test_a_first_up_creates_in_order_and_a_second_one_changes_nothing(world: World) -> None:
    """A resource is created only after what it takes values from."""
    first = world.up(CHAIN)
    assert (ops(first), first.failures) == ({"a": "create", "b": "create"}, ())
    assert world.toys.log == ["create a", "create b"]
    assert first.outputs == {"b": "out of b-2"}
    second = world.up()
    assert ops(second) == {"a": "same", "b": "same"}
    assert world.toys.log == []
    assert second.outputs == first.outputs
    assert not second.changed


def test_a_change_in_place_updates_only_that_resource(world: World) -> None:
    """The dependent sees the same output, so it stays."""
    world.up(CHAIN)
    summary = world.up(CHAIN.replace("size=1", "size=2"))
    assert ops(summary) == {"a": "update", "b": "same"}
    assert [(c.path, c.old, c.new) for c in step(summary.steps, "a").changes] == [("size", "1", "2")]


def test_a_replacement_creates_first_and_deletes_at_the_end(world: World) -> None:
    """Dependents move to the new one before the old one goes."""
    world.up(CHAIN.replace("size=1", "fixed=1"))
    summary = world.up(CHAIN.replace("size=1", "fixed=2"))
    assert ops(summary) == {"a": "replace", "b": "update"}
    assert world.toys.log == ["create a", "update b", "delete a"]
    assert step(summary.steps, "a").reasons == ("fixed cannot be changed in place",)
    assert world.names() == ["a", "b"]


DBR = """
a = Toy("a", O(delete_before_replace=True), fixed=1)
b = Toy("b", fixed=a.out)
c = Toy("c", of=a.out)
d = Toy("d", O(depends_on=[b]), size=1)
"""


def test_delete_before_replace_takes_dependents_that_must_be_replaced_first(world: World) -> None:
    """b cannot take a new value of a in place, so it goes before a does; c can; d only comes after b."""
    world.up(DBR)
    summary = world.up(DBR.replace("fixed=1", "fixed=2"))
    assert world.toys.log[:3] == ["delete b", "delete a", "create a"]
    assert sorted(world.toys.log[3:]) == ["create b", "update c"]
    assert ops(summary) == {"a": "replace", "b": "replace", "c": "update", "d": "same"}
    assert step(summary.steps, "b").reasons == ("toy:index:Toy a is replaced",)
    assert world.names() == ["a", "b", "c", "d"]


def test_a_provider_can_ask_to_delete_first(world: World) -> None:
    """Providers know what cannot exist twice."""
    world.toys.delete_first = True
    world.up(CHAIN.replace("size=1", "fixed=1"))
    world.up(CHAIN.replace("size=1", "fixed=2"))
    assert world.toys.log == ["delete a", "create a", "update b"]


def test_a_protected_resource_is_neither_replaced_nor_deleted(world: World) -> None:
    """Data volumes carry protect; the text says how to take it off."""
    text = 'Toy("a", O(protect=True), fixed=1)\n'
    world.up(text)
    for program in (text.replace("fixed=1", "fixed=2"), ""):
        summary = world.up(program)
        assert "protect" in summary.failures[0].cause
        assert "unprotect" in summary.failures[0].cause
        assert (world.toys.log, summary.exit_code) == ([], 1)
    world.up(text)
    assert world.engine().destroy().failures[0].urn == urn("a")
    assert world.engine().unprotect() == [urn("a")]
    assert world.engine().destroy().exit_code == 0
    assert world.names() == []


def test_a_cascade_stops_before_a_protected_dependent(world: World) -> None:
    """Nothing is deleted when something that would have to go is protected."""
    text = DBR.replace('"b", ', '"b", O(protect=True), ')
    world.up(text)
    summary = world.up(text.replace("fixed=1", "fixed=2"))
    assert "b" in summary.failures[0].cause
    assert world.toys.log == []


def test_ignore_changes_keeps_the_recorded_value(world: World) -> None:
    """What an operator changed on purpose is left; other properties are not."""
    text = 'Toy("a", O(ignore_changes=["size", "tags[0]"]), size=1, tags=["x", "y"], other=1)\n'
    world.up(text)
    assert ops(world.up(text.replace("size=1", "size=2").replace('"x"', '"z"'))) == {"a": "same"}
    summary = world.up(text.replace("size=1", "size=2").replace("other=1", "other=2"))
    assert [c.path for c in step(summary.steps, "a").changes] == ["other"]
    assert next(iter(world.toys.objects.values()))["size"] == 1


def test_replace_on_changes_turns_an_update_into_a_replacement(world: World) -> None:
    """The program knows more than the provider."""
    text = 'Toy("a", O(replace_on_changes=["size"]), size=1)\n'
    world.up(text)
    assert ops(world.up(text.replace("size=1", "size=2"))) == {"a": "replace"}


def test_a_renamed_resource_with_an_alias_is_the_same_one(world: World) -> None:
    """A renamed node is one node: nothing is replaced, and dependents follow."""
    world.up(CHAIN)
    renamed = CHAIN.replace('"a", ', '"new", O(aliases=[pulumi.Alias(name="a")]), ')
    assert ops(world.up(renamed)) == {"new": "same", "b": "same"}
    assert world.toys.log == []
    assert world.state().resources[urn("b")].dependencies == (urn("new"),)
    assert ops(world.up(renamed.replace("size=1", "size=2"))) == {"new": "update", "b": "same"}


def test_children_of_a_renamed_component_follow_it(world: World) -> None:
    """Their URNs contain no name of the parent, but their names often begin with it."""
    text = 'g = Group("g"{})\nToy("{}-a", O(parent=g), size=1)\n'
    world.up(text.format("", "g"))
    assert urn("g-a", "toy:index:Group$toy:index:Toy") in world.state().resources
    summary = world.up(text.format(', O(aliases=[pulumi.Alias(name="g")])', "h").replace('"g",', '"h",'))
    assert ops(summary) == {"h": "same", "h-a": "same"}


def test_a_component_moved_under_another_keeps_its_children(world: World) -> None:
    """Types of parents are part of a URN; the alias of the parent gives the children theirs."""
    world.up('g = Group("g")\nToy("x", O(parent=g))\n')
    text = 'o = Group("o")\ng = Group("g", O(parent=o, aliases=[pulumi.Alias(parent=None)]))\nToy("x", O(parent=g))\n'
    assert ops(world.up(text)) == {"o": "create", "g": "same", "x": "same"}


def test_retain_on_delete_leaves_the_object_and_forgets_it(world: World) -> None:
    """The state no longer has it; the cloud does."""
    world.up('Toy("a", O(retain_on_delete=True))\n')
    assert ops(world.up("")) == {"a": "delete"}
    assert (world.names(), list(world.state().resources)) == (["a"], [urn("p-dev", "pulumi:pulumi:Stack")])


def test_what_the_program_no_longer_names_is_deleted_in_reverse_order(world: World) -> None:
    """A dependent goes before what it depends on."""
    world.up(CHAIN + 'c = Toy("c", O(depends_on=[b]))\n')
    summary = world.up("")
    assert world.toys.log == ["delete c", "delete b", "delete a"]
    assert summary.counts["delete"] == 3


def test_a_failure_stops_dependents_and_deletes_nothing(world: World) -> None:
    """The summary names the resource and the cause; what was done is recorded."""
    world.up('Toy("old")\n')
    summary = world.up('a = Toy("a")\nb = Toy("b", broken="no quota")\nToy("c", of=b.out)\n')
    assert [(f.urn, f.cause) for f in summary.failures] == [(urn("b"), "broken: no quota")]
    assert "c" not in ops(summary)
    assert "old" in world.names()
    assert ops(world.up('a = Toy("a")\nb = Toy("b")\nToy("c", of=b.out)\n'))["b"] == "create"
    assert world.names() == ["a", "b", "c"]


def test_what_is_under_way_when_another_fails_ends_and_is_recorded(world: World) -> None:
    """A slow create that is not recorded would be an orphan."""
    world.up('Toy("slow", slow=0.1)\nToy("bad", broken=1)\n')
    assert urn("slow") in world.state().resources


def test_independent_resources_are_made_side_by_side(world: World) -> None:
    """Two creates of 0.2 s overlap; so do their deletions."""
    text = "".join(f'Toy("t{n}", slow=0.2)\n' for n in range(6))
    assert world.up(text).seconds < 0.9
    assert len(world.names()) == 6
    assert world.up(text.replace("0.2", "0.1"), parallel=1).counts["update"] == 6


def test_an_unknown_type_and_an_option_that_is_not_honoured_are_named(world: World) -> None:
    """A rehearsal that ignores an option would lie about the real run."""
    cases = {
        'pulumi.CustomResource("x:index:Y", "y", {})': "x:index:Y",
        'Toy("a", O(import_="1"))': "importId",
        'Toy("a", O(replace_with=[Toy("b")]))': "replace_with",
        'Toy("a", O(transforms=[lambda a: None]))': "transforms",
        'Toy("a", O(hide_diffs=["x"]))': "hideDiffs",
        'pulumi.StackReference("org/p/x")': "StackReference",
        'pulumi.runtime.invoke("x:index:f", {})': "x:index:f",
        'Toy("a", O(hooks=pulumi.ResourceHookBinding(before_create=[lambda a: None])))': "hooks",
        'Toy("a")\nToy("a")': "two resources",
    }
    for text, word in cases.items():
        summary = world.up(text)
        assert summary.failures, text
        assert word in summary.failures[0].cause, text


WITH = """
anchor = Toy("anchor")
x = Toy("x", O(deleted_with=anchor))
y = Toy("y", of=x.out)
"""


def test_what_is_deleted_with_another_leaves_the_state_without_a_call(world: World) -> None:
    """Destroy never asks a control plane that goes too; the order is still that of the dependencies."""
    world.up(WITH)
    assert world.state().resources[urn("x")].deleted_with == urn("anchor")
    world.toys.log.clear()
    assert world.engine().destroy().counts == {"delete": 4}
    assert world.toys.log == ["delete y", "delete anchor"]
    assert world.state().resources == {}


def test_what_is_deleted_with_another_is_deleted_alone_as_ever(world: World) -> None:
    """Only the deletion of the named resource, in the same run, counts."""
    world.up(WITH)
    world.up('anchor = Toy("anchor", size=2)\n')
    assert world.toys.log == ["update anchor", "delete y", "delete x"]


def test_a_replaced_anchor_counts_as_deleted_only_where_the_real_engine_says_so(world: World) -> None:
    """Created first, its old self is deleted at the end: x, gone from the program, goes with it. Deleted first: not."""
    world.up(WITH.replace('"anchor"', '"anchor", fixed=1'))
    world.up('Toy("anchor", fixed=2)\n')
    assert world.toys.log == ["create anchor", "delete y", "delete anchor"]
    dbr = WITH.replace('"anchor"', '"anchor", O(delete_before_replace=True), fixed=2')
    world.up(dbr)
    world.up(dbr.replace("=2", "=3").replace('x = Toy("x", O(deleted_with=anchor))', 'x = Toy("z")'))
    assert sorted(world.toys.log[:3]) == ["create anchor", "create z", "delete anchor"]
    assert world.toys.log[3:] == ["update y", "delete x"]


def test_what_exists_but_is_not_usable_stays_and_is_waited_for_again(world: World) -> None:
    """As the real engine's initialization errors: nothing is made twice, and nothing is removed."""
    create, update = world.toys.create, world.toys.update

    def unready(call: Call, news: Props) -> Result:
        raise Unfinished("not ready", create(call, news))

    world.toys.create = unready  # type: ignore[method-assign]
    first = world.up('Toy("a", size=1)')
    assert first.failures[0].cause == "not ready"
    assert (world.state().resources[urn("a")].unready, world.state().pending) == (True, {})
    assert ops(world.up()) == {"a": "update"}
    assert world.toys.log == ["update a"]
    assert ops(world.up()) == {"a": "same"}

    def late(call: Call, olds: Result, news: Props) -> Result:
        raise Unfinished("still not", update(call, olds, news))

    world.toys.update = late  # type: ignore[method-assign]
    world.up('Toy("a", size=2)')
    found = world.state().resources[urn("a")]
    assert (found.unready, found.inputs) == (True, {"size": 2})


def test_a_refused_create_leaves_nothing_to_remove(world: World) -> None:
    """What has that name is somebody else's: the next run must not clean it away."""
    create = world.toys.create

    def refuse(call: Call, news: Props) -> Result:  # noqa: ARG001  the signature of the method it replaces
        raise Untouched("taken")

    world.up('Toy("b")')
    world.toys.create = refuse  # type: ignore[method-assign]
    assert world.up('Toy("b")\nToy("a")').failures[0].cause == "taken"
    assert world.state().pending == {}
    world.toys.create = create  # type: ignore[method-assign]
    assert ops(world.up()) == {"a": "create", "b": "same"}


PROVIDED = """
p = pulumi.ProviderResource("toy", "p", {"cluster": 1})
a = Toy("a", O(provider=p), size=1)
"""


def test_another_provider_moves_its_resources_and_the_old_one_deletes_them(world: World) -> None:
    """New objects in the new cluster, then the old ones go from the old cluster, with the old login."""
    settings = Toys()
    settings.diff = (  # type: ignore[method-assign]
        lambda _call, olds, news: Diff(("cluster",), ("cluster",)) if (olds.inputs or {}) != news else Diff()
    )
    world.providers = {"toy:": world.toys, "pulumi:providers:toy": settings}
    world.up(PROVIDED)
    used: list[Props] = []
    delete = world.toys.delete

    def watched(call: Call, olds: Result) -> None:
        used.append(dict(call.provider))
        delete(call, olds)

    world.toys.delete = watched  # type: ignore[method-assign]
    assert ops(world.up()) == {"p": "same", "a": "same"}
    summary = world.up(PROVIDED.replace("1}", "2}"))
    assert ops(summary) == {"p": "replace", "a": "replace"}
    assert world.toys.log == ["create a", "delete a"]
    assert used == [{"cluster": 1}]
    assert world.state().condemned == []


def test_configuration_beside_the_file_is_added_and_never_doubled(world: World) -> None:
    """As `pulumi up --config`: text as it is, structures as JSON."""
    program = 'pulumi.export("x", pulumi.Config("p").require_object("x"))\n'
    world.program(program)
    assert world.engine(extra={"p:x": {"a": [1]}}).up().outputs == {"x": {"a": [1]}}
    world.config.write_text(f"encryptionsalt: {SALT}\nconfig: {{x: 1}}\n")
    with pytest.raises(BadInput, match="p:x is set here"):
        world.engine(extra={"p:x": {"a": [1]}}).up()


def test_parents_dependencies_and_timeouts_are_recorded(world: World) -> None:
    """Deletions happen without the program: everything they need is in the state."""
    world.up('a = Toy("a")\nToy("b", O(parent=a, custom_timeouts=pulumi.CustomTimeouts(create="20m")), of=a.out)\n')
    found = world.state().resources[urn("b", "toy:index:Toy$toy:index:Toy")]
    assert (found.parent, found.dependencies) == (urn("a"), (urn("a"),))
    assert (found.property_dependencies, found.timeouts) == ({"of": (urn("a"),)}, {"create": "20m"})


def test_replace_and_target_name_what_is_touched(world: World) -> None:
    """--replace forces one; --target leaves the others as they are, also those the program changed."""
    text = 'a = Toy("a", size=1)\nb = Toy("b", size=1)\n'
    world.up(text)
    assert ops(world.up(replace=[urn("b")])) == {"a": "same", "b": "replace"}
    changed = text.replace("size=1", "size=2") + 'Toy("c")\n'
    assert ops(world.up(changed, target=[urn("a")])) == {"a": "update"}
    assert ops(world.up(changed)) == {"a": "same", "b": "update", "c": "create"}
    missing = world.up(target=[urn("nobody")])
    assert "no resource has this URN" in missing.failures[0].cause


def test_a_target_that_needs_what_is_left_out_says_so(world: World) -> None:
    """As in the real engine: the missing one has to be named as well."""
    summary = world.up('a = Toy("a")\nb = Toy("b", of=a.out)\n', target=[urn("b")])
    assert "needs a" in summary.failures[0].cause


def test_expect_no_changes_reports_changes_with_its_own_exit_code(world: World) -> None:
    """Exit code 3, so that a second run can be a check."""
    assert world.up(CHAIN, expect_no_changes=True).exit_code == 3
    assert world.up(CHAIN, expect_no_changes=True).exit_code == 0


def test_an_explicit_provider_hands_its_inputs_to_each_call(world: World) -> None:
    """Also at deletion, when the program is not run."""
    seen: list[object] = []
    plain_delete = world.toys.delete

    def delete(call, olds):  # type: ignore[no-untyped-def]
        seen.append(call.provider["region"])
        plain_delete(call, olds)

    world.toys.delete = delete  # type: ignore[method-assign]
    world.up('p = pulumi.ProviderResource("toy", "p", {"region": "R"})\nToy("a", O(provider=p))\n')
    assert ops(world.up()) == {"p": "same", "a": "same"}
    assert world.engine().destroy().exit_code == 0
    assert seen == ["R"]


def test_a_component_becoming_empty_is_deleted_after_its_children(world: World) -> None:
    """Components have no verbs, yet they are steps."""
    world.up('g = Group("g")\nToy("x", O(parent=g))\n')
    assert [s.name for s in world.up("").steps if s.op == "delete"] == ["x", "g"]


HOOKED = """
def again(args):
    log.append((args.failed_operation, args.name, len(args.errors), (args.new_inputs or {}).get("size")))
    return len(args.errors) < 3

import builtins
log = builtins.__dict__.setdefault("hook_log", [])
hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("again", again)])
"""


@pytest.fixture
def hook_log() -> Iterator[list[Any]]:
    """What the program's hook was asked."""
    log: list[Any] = []
    builtins.__dict__["hook_log"] = log
    yield log
    del builtins.__dict__["hook_log"]


@pytest.mark.parametrize("failures", [2, 3])
def test_a_failed_operation_is_tried_again_as_often_as_its_error_hook_says(
    world: World, hook_log: list[Any], failures: int
) -> None:
    """The hook hears every error, the newest first, over the SDK's own callback server."""
    left = {"create": failures, "update": failures}

    def fail(verb: str) -> None:
        if left[verb]:
            left[verb] -= 1
            raise ProviderError(f"broken {left[verb]}")

    make, change = world.toys.create, world.toys.update

    def create(call: Call, news: Props) -> Result:
        fail("create")
        return make(call, news)

    def update(call: Call, olds: Result, news: Props) -> Result:
        fail("update")
        return change(call, olds, news)

    world.toys.create, world.toys.update = create, update  # type: ignore[method-assign]
    text = HOOKED + 'Toy("a", O(hooks=hooks), size=1)'
    done = world.up(text)
    assert [entry[:3] for entry in hook_log] == [("create", "a", n) for n in range(1, failures + 1)]
    assert bool(done.failures) == (failures == 3)
    hook_log.clear()
    left["create"] = 0
    world.up(text)
    assert hook_log == []
    changed = world.up(text.replace("size=1", "size=2"))
    assert [entry[:3] for entry in hook_log] == [("update", "a", n) for n in range(1, failures + 1)]
    assert bool(changed.failures) == (failures == 3)


@pytest.mark.parametrize("failures", [1, 5])
def test_what_a_create_made_in_part_is_updated_when_it_is_tried_again(
    world: World, hook_log: list[Any], failures: int
) -> None:
    """As the real engine since pulumi/pulumi#24684: a second create would make it twice. The hook hears of a create."""
    make, change, left = world.toys.create, world.toys.update, [failures]

    def create(call: Call, news: Props) -> Result:
        raise Unfinished("not ready", make(call, news))

    def update(call: Call, olds: Result, news: Props) -> Result:
        left[0] -= 1
        if left[0]:
            raise ProviderError("still not")
        return change(call, olds, news)

    world.toys.create, world.toys.update = create, update  # type: ignore[method-assign]
    done = world.up(HOOKED + 'Toy("a", O(hooks=hooks), size=1)')
    assert len(world.toys.objects) == 1
    assert {entry[0] for entry in hook_log} == {"create"}
    assert bool(done.failures) == (failures == 5)
    found = world.state().resources[urn("a")]
    assert (found.unready, world.state().pending) == (failures == 5, {})


@pytest.mark.parametrize(
    ("wanted", "said"), [(">=3.0.0", ""), (">=99.0.0", "is not >=99.0.0"), ("<4.0.0", "reads ranges such as")]
)
def test_the_engine_answers_for_the_version_of_the_sdk(world: World, wanted: str, said: str) -> None:
    """A program may ask what the engine does that it was not written against."""
    text = f"pulumi.require_pulumi_version({wanted!r})\n" + 'Toy("a")'
    if said:
        with pytest.raises(BadInput, match=said):
            world.up(text)
    else:
        assert ops(world.up(text)) == {"a": "create"}


def test_a_destroy_goes_on_with_what_does_not_depend_on_a_failure(world: World) -> None:
    """What can be removed is removed; the rest stays in the state, with its reason."""
    world.up('a = Toy("a")\nToy("b", of=a.out)\nc = Toy("c", size=1)\nToy("d", of=c.out)')
    delete = world.toys.delete

    def stuck(call: Call, olds: Result) -> None:
        if call.urn == urn("b"):
            raise ProviderError("in use")
        delete(call, olds)

    world.toys.delete = stuck  # type: ignore[method-assign]
    summary = world.engine().destroy()
    assert [(failure.urn, failure.cause) for failure in summary.failures] == [(urn("b"), "in use")]
    assert world.names() == ["a", "b"]
    world.toys.delete = delete  # type: ignore[method-assign]
    assert not world.engine().destroy().failures
    assert world.names() == []


def test_adopting_takes_up_by_its_mark_what_the_state_does_not_know(world: World) -> None:
    """The state is lost or an older copy: nothing is made twice, and what differs is changed in place."""
    world.up(CHAIN)
    before = dict(world.toys.objects)
    world.path.unlink()
    world.toys.log.clear()
    done = world.program(CHAIN.replace("size=1", "size=2")).engine().up(adopt=True)
    assert not done.failures
    assert world.toys.log == ["update a"]
    assert world.toys.objects.keys() == before.keys()
    assert ops(world.up()) == {"a": "same", "b": "same"}


@pytest.mark.parametrize(("secret", "log"), [("", []), ("pulumi.Output.secret", ["create b", "delete b"])])
def test_what_was_made_with_a_secret_that_is_lost_is_made_anew(world: World, secret: str, log: list[str]) -> None:
    """A server cannot be asked for its user data: with new keys in it, nobody could log in to the old one."""
    text = f'a = Toy("a")\nToy("b", fixed={secret}(a.out))'
    world.up(text)
    world.path.unlink()
    [lost] = [id_ for id_, toy in world.toys.objects.items() if "fixed" not in toy]
    del world.toys.objects[lost]
    world.toys.log.clear()
    world.toys.read = lambda _, olds: olds  # type: ignore[method-assign, assignment]
    assert not world.program(text).engine().up(adopt=True).failures
    assert world.toys.log == ["create a", *log]
