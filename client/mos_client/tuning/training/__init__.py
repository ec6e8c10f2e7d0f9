"""What a training step computes: adapters, embeddings, loss, optimiser."""
