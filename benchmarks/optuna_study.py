"""The usual study: Optuna, a PyTorch objective, one trial after another.

As Optuna's tutorial and its PyTorch example show it: an objective that suggests a learning rate,
trains with a DataLoader and returns the evaluation's loss; `study.optimize` runs the trials. Run as
a program: `python -m benchmarks.optuna_study '{"trials": 64, "steps": 2200}'` prints seconds.
"""

import json
import sys
from time import perf_counter

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 64


def datasets() -> tuple[TensorDataset, TensorDataset]:
    """Digits, standardized: 80 % to train, 20 % to evaluate."""
    x, y = load_digits(return_X_y=True)
    x_train, x_eval, y_train, y_eval = train_test_split(x, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(x_train)
    train, evaluation = (
        TensorDataset(
            torch.as_tensor(scaler.transform(features), dtype=torch.float32),
            torch.as_tensor(targets),
        )
        for features, targets in ((x_train, y_train), (x_eval, y_eval))
    )
    return train, evaluation


def seconds(*, trials: int, steps: int, threads: int = 1) -> float:
    """Wall time of a study of so many learning rates."""
    torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, evaluation = datasets()

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        loss_function = nn.CrossEntropyLoss()
        loader = DataLoader(train, batch_size=BATCH, shuffle=True)
        losses: list[float] = []
        while len(losses) < steps:
            model.train()
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = loss_function(model(inputs), targets)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                if len(losses) == steps:
                    break
        model.eval()
        with torch.no_grad():
            inputs, targets = evaluation.tensors
            return float(loss_function(model(inputs), targets).item())

    begin = perf_counter()
    study = optuna.create_study(direction="minimize")
    study.optimize(objective, n_trials=trials)
    return perf_counter() - begin


if __name__ == "__main__":
    print(seconds(**json.loads(sys.argv[1])))
