"""The model registry: logged models, what a server loads of them, gates and promotion."""
