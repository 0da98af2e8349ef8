"""M2FN, the multi-step modality fusion network.

`vgg` is its image network, `steps` its three fusion steps, `network` puts them together.
"""
