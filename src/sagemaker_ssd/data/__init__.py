"""From a channel's files or stream to batches: check, one RecordIO file, MXNet's reader."""

from sagemaker_ssd.data.check_recordio import check_recordio
from sagemaker_ssd.data.check_stream import check_stream
from sagemaker_ssd.data.epoch import epoch_order
from sagemaker_ssd.data.examination import Alone, Examiner, SharedOut
from sagemaker_ssd.data.pack_images import pack_images
from sagemaker_ssd.data.reader import Batch, evaluation_batches, padded_labels
from sagemaker_ssd.data.record_file import RecordFile
from sagemaker_ssd.data.shares import Shares, replicated_shares, sharded_shares
from sagemaker_ssd.data.training_reader import TrainingReader

__all__ = [
    "Alone",
    "Batch",
    "Examiner",
    "RecordFile",
    "SharedOut",
    "Shares",
    "TrainingReader",
    "check_recordio",
    "check_stream",
    "epoch_order",
    "evaluation_batches",
    "pack_images",
    "padded_labels",
    "replicated_shares",
    "sharded_shares",
]
