"""Write the tables that keep `core.specs` in step with torch and scikit-learn.

`core/specs/tables/torch_optim.json` and `torch_schedules.json` hold the signatures of torch's
optimizers and schedulers, `datasets.json` the shapes of scikit-learn's builtin data sets. They are
what the torch-free half of the service knows of the libraries.

    python scripts/signatures.py            # write them
    python scripts/signatures.py --check    # exit 1 when they differ from the installed libraries
"""

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent.parent / "core" / "specs" / "tables"


def signature(cls: type) -> dict[str, Any]:
    """Each parameter but the optimizer's or the model's: its default, or `required`."""
    parameters = list(inspect.signature(cls).parameters.values())
    return {
        parameter.name: (
            {"required": True}
            if parameter.default is parameter.empty
            else {"default": parameter.default}
        )
        for parameter in parameters
        if parameter.name not in ("params", "optimizer", "last_epoch")
    }


def optimizers() -> dict[str, Any]:
    """Every optimizer class of torch.optim."""
    import torch

    classes = {
        name: cls
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type)
        and issubclass(cls, torch.optim.Optimizer)
        and cls is not torch.optim.Optimizer
    }
    return {name: signature(classes[name]) for name in sorted(classes)}


def schedulers() -> dict[str, Any]:
    """Every scheduler class of torch.optim.lr_scheduler."""
    from torch.optim import lr_scheduler

    names = sorted(set(lr_scheduler.__all__) - {"LRScheduler"})
    return {name: signature(getattr(lr_scheduler, name)) for name in names}


def datasets() -> dict[str, Any]:
    """Rows, features, classes and names of the data sets that scikit-learn ships."""
    from sklearn import datasets as sk

    table: dict[str, Any] = {}
    for name in ("digits", "iris", "wine", "breast_cancer", "diabetes"):
        bunch = getattr(sk, f"load_{name}")()
        rows, features = bunch.data.shape
        classes = [str(label) for label in bunch.target_names] if "target_names" in bunch else None
        table[name] = {
            "num_rows": rows,
            "num_features": features,
            "num_classes": len(classes) if classes else None,
            "class_names": classes,
            "class_counts": [int((bunch.target == k).sum()) for k in range(len(classes))]
            if classes
            else None,
            "feature_names": [str(feature) for feature in bunch.feature_names],
            "sample_shape": [1, *bunch.images.shape[1:]] if "images" in bunch else None,
        }
    return table


def rendered() -> dict[str, str]:
    """The tables' texts, by file name."""
    tables = {
        "torch_optim.json": optimizers(),
        "torch_schedules.json": schedulers(),
        "datasets.json": datasets(),
    }
    return {name: json.dumps(table, indent=1) + "\n" for name, table in tables.items()}


def main() -> int:
    """Write or check; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="only compare")
    check = arguments.parse_args().check
    stale = []
    for name, text in rendered().items():
        path = TABLES / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run python scripts/signatures.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
