"""Write training logs in the formats of other programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path


def timm(accuracies: Sequence[float]) -> str:
    """Return timm's summary.csv; accuracies are in percent."""
    lines = ["epoch,train_loss,eval_loss,eval_top1,eval_top5,lr"]
    lines += [
        f"{n},2.5,1.9,{a},{min(100, a + 9)},0.05" for n, a in enumerate(accuracies)
    ]
    return "\r\n".join(lines) + "\r\n"


def lightning(accuracies: Sequence[float], *, metric: str = "val_acc") -> str:
    """Return Lightning's metrics.csv with rows for training and for validation."""
    lines = [f"epoch,lr-SGD,step,train_acc_epoch,train_loss_step,{metric},val_loss"]
    for epoch, accuracy in enumerate(accuracies):
        lines += [
            f",0.1,{epoch * 100},,,,",
            f"{epoch},,{epoch * 100 + 49},,2.5,,",
            f"{epoch},,{epoch * 100 + 99},,,{accuracy},1.5",
            f"{epoch},,{epoch * 100 + 99},0.99,,,",
        ]
    return "\n".join(lines) + "\n"


def keras(accuracies: Sequence[float], *, separator: str = ",") -> str:
    """Return a log as Keras' CSVLogger writes it."""
    rows = [["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]]
    rows += [[n, 0.99, 1.5, accuracy, 1.9] for n, accuracy in enumerate(accuracies)]
    return "".join(separator.join(map(str, row)) + "\r\n" for row in rows)


def huggingface(
    accuracies: Sequence[float], *, per_epoch: int = 1, epochs: int | None = None
) -> str:
    """Return trainer_state.json with evaluations of 2000 images."""
    history: list[dict[str, float]] = []
    for number, accuracy in enumerate(accuracies, 1):
        at = {"epoch": number / per_epoch, "step": number * 50}
        history += [
            {**at, "learning_rate": 1e-4, "loss": 1.9},
            {
                **at,
                "eval_accuracy": accuracy,
                "eval_loss": 1.5,
                "eval_runtime": 88.2184,
                "eval_samples_per_second": 22.671,
                "eval_steps_per_second": 1.424,
            },
        ]
    state = {
        "best_metric": None,
        "epoch": len(accuracies) / per_epoch,
        "global_step": len(accuracies) * 50,
        "log_history": history,
        "num_train_epochs": epochs or len(accuracies) // per_epoch,
    }
    return json.dumps(state, indent=2)


def columns(accuracies: Sequence[float]) -> str:
    """Return a table of another program, with epochs from 1."""
    lines = ["Epoch;Train Acc;Test Acc"]
    lines += [f"{n};0.99;{accuracy}" for n, accuracy in enumerate(accuracies, 1)]
    return "\n".join(lines) + "\n"


def write(root: Path, logs: Mapping[str, str]) -> str:
    """Write the logs to a folder; return its path."""
    for name, text in logs.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
    return str(root)
