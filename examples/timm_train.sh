#!/bin/sh
# Train ResNet-18 with timm's train.py on the class folders of a subset, which has to
# be built with --formats folders.
#
# Install: pip install timm
# Run: sh examples/timm_train.sh subsets/demonstration/1.0.0 [MORE FLAGS OF TRAIN.PY]
#
# train.py is not in timm's package. This script downloads it once, at timm's version.
# The class map keeps the labels right where a group has no images in a split.
# --no-prefetcher is for machines without a GPU; leave it out on others.
set -eu
dataset=$1
shift
train_py=${TIMM_TRAIN_PY:-timm_train.py}
if [ ! -e "$train_py" ]; then
  version=$(python -c 'import timm; print(timm.__version__)')
  curl --fail --location --output "$train_py" \
    "https://raw.githubusercontent.com/huggingface/pytorch-image-models/v$version/train.py"
fi
python "$train_py" \
  --data-dir "$dataset/folders" \
  --class-map "$dataset/folders/class_map.txt" \
  --num-classes "$(wc -l < "$dataset/folders/class_map.txt")" \
  --train-split train --val-split validation \
  --model resnet18 --img-size 224 --batch-size 64 --workers 2 --no-prefetcher \
  --opt sgd --lr 0.05 --epochs 1 --warmup-epochs 0 "$@"
