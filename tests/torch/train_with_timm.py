"""Train a model with timm as its train.py does, with the flags of the example."""

import argparse
import sys

import torch
from timm import data, models, optim
from torch.nn import functional

parser = argparse.ArgumentParser()
for flag in ("data-dir", "class-map", "train-split", "val-split", "model", "opt"):
    parser.add_argument(f"--{flag}", required=True)
for flag in (
    "num-classes", "img-size", "batch-size", "workers", "epochs", "warmup-epochs",
):  # fmt: skip
    parser.add_argument(f"--{flag}", type=int, required=True)
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--no-prefetcher", action="store_true")


def main() -> None:
    args = parser.parse_args()
    model = models.create_model(args.model, num_classes=args.num_classes)
    config = data.resolve_data_config(vars(args), model=model)
    loaders = [
        data.create_loader(
            data.create_dataset(
                "",
                root=args.data_dir,
                split=split,
                class_map=args.class_map,
                is_training=is_training,
                batch_size=args.batch_size,
            ),
            input_size=(3, args.img_size, args.img_size),
            batch_size=args.batch_size,
            is_training=is_training,
            use_prefetcher=not args.no_prefetcher,
            mean=config["mean"],
            std=config["std"],
            num_workers=args.workers,
        )
        for split, is_training in ((args.train_split, True), (args.val_split, False))
    ]
    optimizer = optim.create_optimizer_v2(model, opt=args.opt, lr=args.lr)
    model.train()
    for images, labels in loaders[0]:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        correct = sum((model(x).argmax(1) == y).sum().item() for x, y in loaders[1])
    train, validation = (len(loader.dataset) for loader in loaders)
    sys.stdout.write(
        f"{train} training images of {args.num_classes} classes, "
        f"{correct} of {validation} correct\n"
    )


if __name__ == "__main__":
    main()
