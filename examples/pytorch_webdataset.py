"""Train ResNet-18 with PyTorch on the WebDataset shards of a subset.

Install: pip install torch torchvision webdataset
Run: python examples/pytorch_webdataset.py subsets/demonstration/1.0.0
"""

import argparse
import json
from pathlib import Path

import torch
import webdataset
from torch.nn import functional
from torchvision.models import resnet18
from torchvision.transforms import v2

parser = argparse.ArgumentParser()
parser.add_argument("dataset", type=Path)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--batch_size", type=int, default=64)
parser.add_argument("--workers", type=int, default=2)

NORMALIZE = [
    v2.PILToTensor(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
]


def make_loader(args: argparse.Namespace, split: str) -> webdataset.WebLoader:
    """Load a split; every worker reads its own shards, so more than one is best."""
    size, is_train = args.image_size, split == "train"
    augment = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    crop = [v2.Resize(round(size * 1.143)), v2.CenterCrop(size)]
    transform = v2.Compose([*(augment if is_train else crop), *NORMALIZE])
    shards = sorted(map(str, (args.dataset / split).glob("*.tar")))
    data = webdataset.WebDataset(
        shards, shardshuffle=len(shards) if is_train else False, empty_check=False
    )
    if is_train:
        data = data.shuffle(1000)
    data = data.decode("pil").to_tuple("jpg", "cls").map_tuple(transform, int)
    workers = min(args.workers, len(shards))
    return webdataset.WebLoader(data, batch_size=args.batch_size, num_workers=workers)


def main() -> None:
    """Train, and print the validation accuracy after every epoch."""
    args = parser.parse_args()
    classes = json.loads((args.dataset / "classes.json").read_text())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = resnet18(num_classes=len(classes)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for images, labels in make_loader(args, "train"):
            loss = functional.cross_entropy(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        correct = total = 0
        with torch.inference_mode():
            for images, labels in make_loader(args, "validation"):
                predicted = model(images.to(device)).argmax(dim=1).cpu()
                correct += (predicted == labels).sum().item()
                total += len(labels)
        print(f"epoch {epoch}: {correct} of {total} validation images are correct")


if __name__ == "__main__":
    main()
