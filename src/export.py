"""Convert a checkpoint to another format: ``python src/export.py checkpoint=NAME output=FILE.onnx``."""

from awing.inference.export import main

if __name__ == "__main__":
    main()
