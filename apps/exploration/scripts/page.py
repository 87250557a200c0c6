"""The page: versions of a model with their aliases and evidence, and the runs behind them. It changes nothing."""

import os
from http.client import HTTPException
from typing import Any

import streamlit as st

from apps.exploration.scripts import tracking
from apps.exploration.scripts.tracking import Tracking

SECONDS = 15
"""So long an answer of MLflow is shown again, whoever looks."""
METRIC = "metric "


@st.cache_data(ttl=SECONDS, show_spinner=False)  # type: ignore[untyped-decorator]  # in the image, not here
def asked(what: str, *words: str) -> Any:
    """What MLflow says, by the name of a function of `tracking`."""
    server = Tracking(*(os.environ[f"MLFLOW_TRACKING_{name}"] for name in ("URI", "USERNAME", "PASSWORD")))
    return getattr(tracking, what)(server, *words)


def chosen(title: str, names: list[str], first: str) -> str | None:
    """One of the names; the delivery's own model to begin with."""
    if not names:
        st.info("There is none yet.")
        return None
    picked: str = st.selectbox(title, names, index=names.index(first) if first in names else 0)
    return picked


def versions(model: str) -> None:
    """The registered versions of a model."""
    st.header("Versions")
    name = chosen("Model", asked("models"), model)
    if name is not None:
        st.dataframe(asked("versions", name), hide_index=True)


def runs(model: str) -> None:
    """The runs of an experiment, and what one of them measured."""
    st.header("Runs")
    found = asked("experiments")
    name = chosen("Experiment", sorted(found), model)
    rows = asked("runs", found[name]) if name is not None else []
    if not rows:
        return
    st.dataframe(rows, hide_index=True)
    measured = sorted({key for row in rows for key in row if key.startswith(METRIC)})
    if not measured:
        return
    st.header("Metrics")
    key = st.selectbox("Metric", measured)
    st.line_chart([{"began": row["began"], key: row[key]} for row in rows if key in row], x="began", y=key)
    by_run = {f"{row['run']} ({row['began']})": row["id"] for row in rows if key in row}
    run = st.selectbox("Step by step, of the run", list(by_run))
    plain = key.removeprefix(METRIC)
    st.line_chart(asked("history", by_run[run], plain), x="step", y=plain)


def main() -> None:
    """Show all of it, or what is wrong."""
    model = os.environ.get("MODEL_NAME", "")
    st.set_page_config(page_title=model or "Models", layout="wide")
    st.title(model or "Models")
    try:
        versions(model)
        runs(model)
    except (OSError, HTTPException, ValueError, KeyError) as problem:
        st.error(f"MLflow does not answer as it should: {problem}")


main()
