"""Test NME against one constant at a time: mean and spread over seeds, and a picture with a dot for each training.

    python benchmarks/constants.py PICTURE.png KEY=RUNS [KEY=RUNS ...]

RUNS is a folder with trainings that differ in their seed and in KEY, such as loss.omega=runs/omega.
"""

import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.report.runs import load_runs, mean_and_spread


def main() -> None:
    picture, *sweeps = sys.argv[1:]
    figure = Figure(figsize=(3.2 * len(sweeps), 3.2), layout="constrained")
    panels = figure.subplots(1, len(sweeps), squeeze=False, sharey=True)[0]
    print("| constant | value | NME % | n | seeds |\n|---|---|---|---|---|")
    for axes, (key, _, folder) in zip(panels, (sweep.partition("=") for sweep in sweeps), strict=True):
        found = defaultdict[float, dict[int, float]](dict)
        for run in load_runs(Path(folder))[0]:
            if run.results:
                found[run.get(key)][run.get("seed")] = 100 * next(iter(run.errors.values())).mean()
        name, optimizer = key.partition(".")[2], run.get("optim.optimizer._target_").split(".")[-1]
        for place, (value, seeds) in enumerate(sorted(found.items())):
            nmes = [nme for _, nme in sorted(seeds.items())]
            mean, spread = mean_and_spread(nmes)
            cells = f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"
            print(
                f"| {name}, {optimizer} | {value:g} | {cells} | {len(nmes)} |", ", ".join(f"{x:.2f}" for x in nmes), "|"
            )
            axes.plot([place] * len(nmes), nmes, "o", color="tab:blue", alpha=0.6)
            axes.plot(place, mean, "_", color="tab:blue", markersize=22)
        axes.set(title=f"{name}, {optimizer}", xticks=range(len(found)), xticklabels=[f"{v:g}" for v in sorted(found)])
        axes.grid(alpha=0.3)
        axes.margins(x=0.2)
    panels[0].set_ylabel("test NME (%)\na dot a seed, a line their mean")
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main()
