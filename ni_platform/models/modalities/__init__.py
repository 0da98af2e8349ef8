"""One file per modality: its columns, how rows become tensors, and what encodes them."""
