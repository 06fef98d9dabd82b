"""`python -m sagemaker_ssd.convert`: PASCAL VOC folders and COCO files become the channels of a training job."""
