"""A site's end of the federation: Flower's ClientApp and SuperNode."""
