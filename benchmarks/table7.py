"""Table 7 with the learning rate of each row chosen by its validation NME, and paired differences between rows.

    python benchmarks/table7.py RUNS [PICTURE.png]

RUNS holds trainings of one data set and crop that differ in their row (``report.row``), learning rate and seed. A row's
rate is the one with the lowest validation NME for the row's lowest seed. For a difference, errors are averaged over the
seeds that both rows have; its 95 % interval is a percentile bootstrap over the test faces.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.report.document import mean_interval
from awing.report.runs import Run, load_runs
from awing.report.tables import read_tables

PAIRS = {  # what is added or replaced -> with it, without it
    "AW for MSE": ("AW", "MSE"),
    "AW for MSE, both with WM": ("AW+WM", "MSE+WM"),
    "WM, with MSE": ("MSE+WM", "MSE"),
    "WM, with AW": ("AW+WM", "AW"),
    "WM for WM_base": ("AW+WM", "AW+WM_base"),
    "B": ("AW+WM+B", "AW+WM"),
    "C": ("AW+WM+B+C", "AW+WM+B"),
    "CB": ("AW+WM+B+C+CB", "AW+WM+B+C"),
    "B, C and CB": ("AW+WM+B+C+CB", "AW+WM"),
}
Seeds = dict[int, Run]
Rates = dict[float, Seeds]


def main() -> None:
    folder, *pictures = sys.argv[1:]
    finished = [run for run in load_runs(Path(folder))[0] if run.results]
    found: dict[str, Rates] = defaultdict(lambda: defaultdict(dict))
    for run in finished:
        found[run.get("report.row")][run.get("optim.optimizer.lr")][run.get("seed")] = run
    paper = {row[0].row: row[0].paper for row in read_tables()["table7"].rows}
    rows = {row: best_rate(found[row]) for row in paper if row in found}
    searched = {row: lowest_seed(found[row]) for row in rows if len(found[row]) > 1}
    rates = sorted({rate for runs in searched.values() for rate in runs})
    print(finished[0].protocol)
    heads = "".join(f" {rate:g} |" for rate in rates)
    print(f"\n| row, NME % of validation, test |{heads}\n|---|{'---|' * len(rates)}")
    for row, runs in searched.items():
        scores = (f"{validation(runs[rate]):.2f}, {test(runs[rate]):.2f}" if rate in runs else "" for rate in rates)
        print(f"| {row} | {' | '.join(scores)} |")
    print("\n| row | paper | learning rate | test NME % | of each seed | 95 % interval |\n|---|---|---|---|---|---|")
    for row, (rate, seeds) in rows.items():
        means = [test(run) for run in seeds.values()]
        spread = f" ± {np.std(means, ddof=1):.2f}" if len(means) > 1 else ""
        low, high = interval(np.mean([errors(run) for run in seeds.values()], axis=0))
        cells = f"{np.mean(means):.2f}{spread} | {', '.join(f'{mean:.2f}' for mean in means)} | {low:.2f} to {high:.2f}"
        print(f"| {row} | {paper[row]:.2f} | {rate:g} | {cells} |")
    print("\n| difference, points | paper | here | 95 % interval | of each seed |\n|---|---|---|---|---|")
    for name, (row, other) in PAIRS.items():
        if row in rows and other in rows:
            common = sorted(set(rows[row][1]) & set(rows[other][1]))
            pairs = ((rows[row][1][seed], rows[other][1][seed]) for seed in common)
            each = np.array([errors(run) - errors(reference) for run, reference in pairs])
            low, high = interval(each.mean(0))
            own = ", ".join(f"{100 * difference.mean():+.2f}" for difference in each)
            cells = f"{paper[row] - paper[other]:+.2f} | {100 * each.mean():+.2f} | {low:+.2f} to {high:+.2f} | {own}"
            print(f"| {name} | {cells} |")
    for picture in pictures:
        dots = {row: [test(run) for run in seeds.values()] for row, (_, seeds) in rows.items()}
        curves = {row: {rate: test(run) for rate, run in sorted(runs.items())} for row, runs in searched.items()}
        draw(Path(picture), dots, {row: paper[row] for row in rows}, curves)


def lowest_seed(rates: Rates) -> dict[float, Run]:
    """The training of the lowest seed at each learning rate."""
    return {rate: seeds[min(seeds)] for rate, seeds in rates.items()}


def best_rate(rates: Rates) -> tuple[float, Seeds]:
    """The rate with the lowest validation NME of the lowest seed, and its trainings by seed."""
    runs = lowest_seed(rates)
    rate = min(runs, key=lambda rate: validation(runs[rate]))
    return rate, dict(sorted(rates[rate].items()))


def validation(run: Run) -> float:
    """The best validation NME, in percent."""
    return 100 * run.get("results.val_nme_best")


def errors(run: Run) -> np.ndarray:
    """The NME of each test face by the data set's first normaliser."""
    return next(iter(run.errors.values()))


def test(run: Run) -> float:
    """The mean NME of the test faces, in percent."""
    return 100 * errors(run).mean()


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of these faces, in percent."""
    low, high = mean_interval(values) or (np.nan, np.nan)
    return 100 * low, 100 * high


def draw(
    file: Path, dots: dict[str, list[float]], paper: dict[str, float | None], curves: dict[str, dict[float, float]]
) -> None:
    """Each row's seeds as dots beside the paper's value, and the lowest seed's error over the learning rate."""
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for place, (row, values) in enumerate(dots.items()):
        left.plot(paper[row], place, "D", color="tab:gray")
        middle.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.6)
        middle.plot(np.mean(values), place, "|", color="tab:blue", markersize=18)
    left.set(title="paper, WFLW", xlabel="NME (%)", yticks=range(len(dots)), yticklabels=list(dots))
    middle.set(title="here: a dot a seed, a line their mean", xlabel="NME (%)", yticks=range(len(dots)))
    middle.tick_params(labelleft=False)
    for axes in (left, middle):
        axes.invert_yaxis()
    for row, of_rate in curves.items():
        right.loglog(list(of_rate), list(of_rate.values()), "o--" if row.startswith("MSE") else "o-", label=row)
    right.set(title="here, by learning rate, one seed", xlabel="learning rate", ylabel="NME (%)")
    right.yaxis.set_major_formatter("{x:.0f}")
    right.yaxis.set_minor_formatter("{x:.0f}")
    right.legend()
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    main()
