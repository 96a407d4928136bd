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
    "WM, MSE": ("MSE+WM", "MSE"),
    "WM, AW": ("AW+WM", "AW"),
    "WM for WM_base": ("AW+WM", "AW+WM_base"),
    "B": ("AW+WM+B", "AW+WM"),
    "C": ("AW+WM+B+C", "AW+WM+B"),
    "CB": ("AW+WM+B+C+CB", "AW+WM+B+C"),
    "B, C and CB": ("AW+WM+B+C+CB", "AW+WM"),
}
Seeds = dict[int, Run]


def main() -> None:
    folder, *pictures = sys.argv[1:]
    finished = [run for run in load_runs(Path(folder))[0] if run.results]
    normaliser = next(iter(finished[0].errors))
    found: dict[str, dict[float, Seeds]] = defaultdict(lambda: defaultdict(dict))
    for run in finished:
        found[run.get("report.row")][run.get("optim.optimizer.lr")][run.get("seed")] = run
    paper = {row[0].row: row[0].paper for row in read_tables()["table7"].rows}
    rows = {row: best_rate(found[row]) for row in paper if row in found}
    print(finished[0].protocol)
    print("\n| row | learning rate | seed | best validation NME % | test NME % |\n|---|---|---|---|---|")
    for row in rows:
        for rate, seeds in sorted(found[row].items()):
            for seed, run in sorted(seeds.items()):
                best, test = (
                    100 * run.get(f"results.{key}") for key in ("val_nme_best", f"subsets.full.nme.{normaliser}")
                )
                print(f"| {row} | {rate:g} | {seed} | {best:.2f} | {test:.2f} |")
    print("\n| row | paper | learning rate | test NME % | n | 95 % interval |\n|---|---|---|---|---|---|")
    for row, (rate, seeds) in rows.items():
        means = [100 * run.errors[normaliser].mean() for run in seeds.values()]
        spread = f" ± {np.std(means, ddof=1):.2f}" if len(means) > 1 else ""
        low, high = interval(np.mean([run.errors[normaliser] for run in seeds.values()], axis=0))
        cells = f"{np.mean(means):.2f}{spread} | {len(means)} | {low:.2f} to {high:.2f}"
        print(f"| {row} | {paper[row]:.2f} | {rate:g} | {cells} |")
    print("\n| difference, points | paper | here | 95 % interval | of each seed |\n|---|---|---|---|---|")
    for name, (row, other) in PAIRS.items():
        if row in rows and other in rows:
            common = sorted(set(rows[row][1]) & set(rows[other][1]))
            pairs = ((rows[row][1][seed], rows[other][1][seed]) for seed in common)
            each = np.array([run.errors[normaliser] - reference.errors[normaliser] for run, reference in pairs])
            low, high = interval(each.mean(0))
            own = ", ".join(f"{100 * errors.mean():+.2f}" for errors in each)
            cells = f"{paper[row] - paper[other]:+.2f} | {100 * each.mean():+.2f} | {low:+.2f} to {high:+.2f} | {own}"
            print(f"| {name} | {cells} |")
    for picture in pictures:
        dots = {
            row: [100 * run.errors[normaliser].mean() for run in seeds.values()] for row, (_, seeds) in rows.items()
        }
        draw(Path(picture), dots, {row: paper[row] for row in rows})


def best_rate(rates: dict[float, Seeds]) -> tuple[float, Seeds]:
    """The rate with the lowest validation NME of the lowest seed, and its trainings by seed."""
    rate = min(rates, key=lambda rate: rates[rate][min(rates[rate])].get("results.val_nme_best"))
    return rate, dict(sorted(rates[rate].items()))


def interval(errors: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean error of these faces, in percent."""
    low, high = mean_interval(errors) or (np.nan, np.nan)
    return 100 * low, 100 * high


def draw(file: Path, dots: dict[str, list[float]], paper: dict[str, float | None]) -> None:
    """Each row's seeds as dots beside the paper's value."""
    figure = Figure(figsize=(9, 0.4 * len(dots) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for place, (row, values) in enumerate(dots.items()):
        left.plot(paper[row], place, "D", color="tab:gray")
        right.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.6)
        right.plot(np.mean(values), place, "|", color="tab:blue", markersize=18)
    left.set(title="paper, WFLW", xlabel="NME (%)", yticks=range(len(dots)), yticklabels=list(dots))
    right.set(title="here, CPU scale: a dot a seed, a line their mean", xlabel="NME (%)")
    left.invert_yaxis()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
