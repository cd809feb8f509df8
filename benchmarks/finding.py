"""What finding damage takes: seconds and memory by the size of a photo, on one core.

    python benchmarks/finding.py [--cores 1] [--megapixels 0.25,1,4,12]

Photos are noise, which takes as long as any other. The second of two calls is timed;
the first one compiles. Memory is above what is resident once everything is imported,
the photo and its result included.
"""

import argparse
import math

from measuring import limit_cores, measure, resident, say


def main() -> None:
    flags = parse()
    limit_cores(flags.cores)

    import numpy as np
    from roofline import table

    from dear_jax.inference.damage import bundled_detector

    detector, imported, rows = bundled_detector(), resident(), []
    for count in map(float, flags.megapixels.split(",")):
        side = round(math.sqrt(count * 1e6))
        photo = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        job = {"runs": 3, "seconds": 30.0}
        record, _ = measure(lambda: detector.probability(photo), imported, job)  # noqa: B023
        seconds = min(record["times"])
        say(f"{count:g} megapixels: {seconds:.2f} s")
        rows.append(
            (
                f"{side} x {side}",
                f"{seconds:.2f}",
                f"{seconds / count:.2f}",
                f"{record['start']:.1f}",
                f"{record['peak']:.0f}",
            )
        )
    heads = "photo", "s", "s a megapixel", "first call, s more", "MiB"
    print(table(heads, rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--megapixels", default="0.25,1,4,12")
    return parser.parse_args()


if __name__ == "__main__":
    main()
