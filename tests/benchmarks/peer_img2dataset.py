"""Run img2dataset in its own environment; imports nothing of this project.

PYTHON tests/benchmarks/peer_img2dataset.py URLS OUTPUT PROCESSES THREADS SHARD_IMAGES
"""

import sys


def main(urls, output, num_processes, num_threads, images_per_shard):
    """Resize images to a shorter side of 256 and write them to tars at quality 90."""
    import img2dataset  # only the other environment has it

    img2dataset.download(
        url_list=urls,
        input_format="txt",
        output_folder=output,
        output_format="webdataset",
        processes_count=int(num_processes),
        thread_count=int(num_threads),
        number_sample_per_shard=int(images_per_shard),
        image_size=256,
        resize_mode="keep_ratio",
        resize_only_if_bigger=True,
        encode_quality=90,
        compute_hash=None,
        extract_exif=False,
        enable_wandb=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
