"""Find landmarks on images and videos: ``python src/predict.py input=PATH output=DIR``; options: ``--help``."""

from awing.inference.predict import main

if __name__ == "__main__":
    main()
