"""What lesson 10 measured of a machine: whether it computes what a CPU computes, and how fast it is."""

from __future__ import annotations

import pandas as pd

from latent_reports.tables import MACHINE_NOTEBOOK, Section


def machine_sections(records: pd.DataFrame) -> list[Section]:
    """For each trusted record of lesson 10, its table."""
    mine = records[records.trusted & (records.notebook == MACHINE_NOTEBOOK)].to_dict("records")
    return [made for record in mine for made in (_speed(record), _agreement(record), _memory(record)) if made]


def _section(record: dict, title: str, table: pd.DataFrame, *notes: str) -> Section:
    made_by = f"{record['device.name']}; torch {record['versions.torch']}; commit {record['git.commit'][:7]}."
    return Section(record["tier"], "", f"{title} (tier {record['tier']})", table, [*notes, made_by], "Machines")


def _speed(record: dict) -> Section | None:
    if not isinstance(rows := record.get("metrics.speed"), list):
        return None
    found = pd.DataFrame(rows)
    table = pd.DataFrame(
        {
            "what": found.what,
            "precision": found.precision,
            "examples/s": found.examples_per_second.map("{:,.1f}".format),
            "tokens/s": found.tokens_per_second.map("{:,.0f}".format),
            "ms/example": (1000 / found.examples_per_second).map("{:,.1f}".format),
            "of the peak": found.share_of_peak.map("{:.0%}".format),
        }
    )
    prefix = "metrics.peak_gflop_per_second."
    peaks = {name.removeprefix(prefix): value for name, value in record.items() if name.startswith(prefix)}
    peak = ", ".join(f"{value / 1000:,.1f} TFLOP/s in {name}" for name, value in peaks.items())
    return _section(record, "Speed at GPT-2's shape", table, f"The peak is the best matrix product of the same run: {peak}.")


def _agreement(record: dict) -> Section | None:
    if not isinstance(rows := record.get("metrics.agreement"), list):
        return None
    found = pd.DataFrame(rows).pivot(index="method", columns="precision", values="difference")
    table = found.map("{:.1e}".format).reset_index()
    failed = [f"{row['method']} in {row['precision']}" for row in rows if not row["allowed"]]
    verdict = f"beyond it: {', '.join(failed)}" if failed else "none is beyond it"
    what = "Loss, gradient and loss after a step of every method: the largest relative difference to a CPU in fp32."
    parity = f"The official implementations' golden cases on this device: {record.get('metrics.parity')}."
    notes = f"{what} Against the tolerance, {verdict}.", parity
    return _section(record, "Does it compute what a CPU computes?", table, *notes)


def _memory(record: dict) -> Section | None:
    if not (isinstance(rows := record.get("metrics.memory"), list) and rows):
        return None
    found = pd.DataFrame(rows)
    table = found.assign(**{name: found[name].map("{:.1f}".format) for name in ("measured", "estimated")})
    return _section(record, "GPU memory of a training step, GiB", table, "Estimated: `latent_costs.estimate`.")
