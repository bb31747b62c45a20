"""Train ResNet-18 with PyTorch on the class folders of a subset.

Build the subset with --formats folders.
Install: pip install torch torchvision
Run: python examples/pytorch_folders.py subsets/demonstration/1.0.0
"""

import argparse
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
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


def make_loader(args: argparse.Namespace, split: str) -> DataLoader:
    """Load a split. A group without images has a folder too, so labels never shift."""
    size, is_train = args.image_size, split == "train"
    augment = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    crop = [v2.Resize(round(size * 1.143)), v2.CenterCrop(size)]
    transform = v2.Compose([*(augment if is_train else crop), *NORMALIZE])
    data = ImageFolder(args.dataset / "folders" / split, transform, allow_empty=True)
    return DataLoader(
        data, batch_size=args.batch_size, shuffle=is_train, num_workers=args.workers
    )


def main() -> None:
    """Train, and print the validation accuracy after every epoch."""
    args = parser.parse_args()
    train, validation = make_loader(args, "train"), make_loader(args, "val")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = resnet18(num_classes=len(train.dataset.classes)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for images, labels in train:
            loss = functional.cross_entropy(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        correct = total = 0
        with torch.inference_mode():
            for images, labels in validation:
                predicted = model(images.to(device)).argmax(dim=1).cpu()
                correct += (predicted == labels).sum().item()
                total += len(labels)
        print(f"epoch {epoch}: {correct} of {total} validation images are correct")


if __name__ == "__main__":
    main()
