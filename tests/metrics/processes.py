"""One process of the distributed test: `python processes.py rank init_file data_file result_file`."""

import json
import sys

import torch
from torch import distributed

from awing.metrics import LandmarkNME, PercentCorrectKeypoints


def main(rank: int, init_file: str, data_file: str, result_file: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    data = torch.load(data_file, weights_only=True)
    results = []
    for shares in data["shares"]:  # which images each process gets, batch by batch
        landmarks = LandmarkNME(**data["landmarks"])
        joints = PercentCorrectKeypoints(**data["joints"])
        for batch in shares[rank]:
            faces = {name: value[batch] for name, value in data["faces"].items()}
            landmarks.update(**faces)
            torso = faces["norms"][:, 0].contiguous()
            joints.update(faces["pred"], faces["target"], torso, faces["labelled"], faces["index"])
        rows = [column.nan_to_num(nan=-1.0).tolist() for column in landmarks.per_image()]
        results.append([landmarks.compute(), rows, joints.compute()])
    distributed.destroy_process_group()
    with open(result_file, "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
