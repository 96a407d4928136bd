"""What the paper's tables cost: their distinct trainings, and how long these take."""

from awing.report.protocol import PAPER, Protocol, text
from awing.report.tables import read_tables


def print_plan(step_seconds: float) -> None:
    """Print the trainings that fill all tables of the paper, and their hours.

    ``step_seconds`` is what an optimizer step of the paper's network takes: four stacks, the protocol's batch.
    """
    total = 0.0
    trainings: dict[str, list[tuple[str, Protocol]]] = {}  # what makes the weights -> the places in tables
    for name, table in read_tables().items():
        for protocol in table.protocols:
            made_by = sorted((key, text(value)) for key, value in protocol.training.items() if value is not None)
            trainings.setdefault(str(made_by), []).append((name, protocol))
    for (_, first), *others in trainings.values():
        steps, hours = cost(first, step_seconds)
        total += hours
        also = f"  (also {', '.join(name for name, _ in others)})" if others else ""
        print(f"{hours:5.1f} h {steps:>8,} steps  {' '.join(first.words)}{also}")
    places = sum(map(len, trainings.values()))
    print(f"{total:5.0f} h: {len(trainings)} trainings of one seed fill the {places} places of all tables")
    print(f"A step with four stacks takes step_seconds={step_seconds}, with less by their multiplications.")


def cost(protocol: Protocol, step_seconds: float) -> tuple[int, float]:
    """Optimizer steps and hours, in proportion to the multiplications of the stacks."""
    values, gmac = protocol.training, PAPER["gmac"]
    faces = PAPER["training_faces"][values["dataset.name"]] * (1 - values["dataset.val_fraction"])
    steps = values["trainer.max_epochs"] * int(faces / values["data.batch_size"])
    return steps, steps * step_seconds * gmac[values["model.stacks"] - 1] / gmac[-1] / 3600
