"""M2FN, the multi-step modality fusion network, and the rivals that are parts of it.

`image_network` holds the image networks that it stands on (`vgg` is the paper's), `steps` its
three fusion steps, `network` puts them together.
"""
