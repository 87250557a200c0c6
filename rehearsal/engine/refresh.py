"""The state compared with the world: after an interrupted run, and on request."""

from dataclasses import replace
from functools import partial

from rehearsal.engine.graph import side_by_side
from rehearsal.engine.model import Change, Step, no_provider
from rehearsal.engine.run import Run, read
from rehearsal.engine.state import Pending, Resource
from rehearsal.engine.values import plain
from rehearsal.protocol import Result


def refresh(run: Run) -> None:
    """Read every resource in parallel; what is gone leaves the state, what differs is recorded."""
    live = [r for r in run.state.resources.values() if not no_provider(r.type, r.custom)]
    side_by_side(live, partial(_reread, run), run.parallel, run.cancel)


def _reread(run: Run, resource: Resource) -> None:
    try:
        found = read(run, resource)
    except Exception as error:
        run.fail(resource.urn, error)
        return
    if found == resource:
        return
    with run.state.edit():
        run.state.pending.pop(resource.urn, None)
        if found is None:
            run.state.forget(resource)
        else:
            run.state.put(found)
    if found is None:
        run.note(Step("read", resource.urn, reasons=("it is gone",)))
        return
    run.learn(found.outputs)
    keys = sorted({*resource.outputs, *found.outputs})
    run.note(
        Step(
            "read",
            resource.urn,
            tuple(
                Change(key, run.show(resource.outputs, (key,)), run.show(found.outputs, (key,)))
                for key in keys
                if resource.outputs.get(key) != found.outputs.get(key)
            ),
        )
    )


def recover(run: Run) -> None:
    """Settle what an interrupted run left under way, before anything else is done."""
    for pending in list(run.state.pending.values()):
        if run.stopped:
            return
        try:
            _settle(run, pending)
        except Exception as error:
            run.fail(pending.resource.urn, error)


def _settle(run: Run, pending: Pending) -> None:
    resource, state = pending.resource, run.state
    if pending.op == "create":
        _settle_create(run, resource, pending.failed)
    elif resource.urn in state.resources:
        # What is condemned is deleted by this run anyway.
        _reread(run, state.resources[resource.urn])
    with state.edit():
        state.pending.pop(resource.urn, None)


def by_mark(run: Run, resource: Resource, known: frozenset[str]) -> Resource | None:
    """What exists in the world with the mark of a resource, but for the ids that the state knows."""
    call = replace(run.call(resource, "create"), known=known)
    id_ = run.provider(resource.type).find(call, plain(resource.inputs))
    if id_ is None or id_ in known:
        return None
    return read(run, replace(resource, id=id_, outputs=resource.inputs))


def _settle_create(run: Run, resource: Resource, failed: bool) -> None:
    state, provider = run.state, run.provider(resource.type)
    records = (*state.condemned, *filter(None, [state.resources.get(resource.urn)]))
    mine = frozenset(record.id for record in records if record.urn == resource.urn)
    call = replace(run.call(resource, "create"), known=mine)
    if failed:
        id_ = provider.find(call, plain(resource.inputs))
        if id_ is not None and id_ not in mine:
            run.display.notice(f"{resource.urn}: removing what a failed create left behind ({id_})")
            provider.delete(run.call(resource, "delete"), Result(id_, plain(resource.inputs), plain(resource.inputs)))
        return
    found = by_mark(run, resource, mine)
    if found is None:
        return
    run.display.notice(f"{resource.urn}: found what an interrupted run made ({found.id})")
    with state.edit():
        state.pending.pop(resource.urn, None)
        if resource.urn in state.resources:
            state.condemn(resource.urn)
        state.put(found)
