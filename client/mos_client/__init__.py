"""The site: pictures, tuning, signing, sampling, and the Flower client."""
